//! The browser tier: what it gives, and what a site can see of it.

mod crashes;
mod detection_suites;
mod page_output;
mod window;
mod wire;
