//! The browser tier: what it gives, and what a site can see of it.

mod crashes;
mod detection_suites;
mod folders;
mod frames;
mod page_memory;
mod page_output;
mod processes;
mod window;
mod wire;
