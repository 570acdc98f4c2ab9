//! The lab: a recorder that hears what a client says, and the demo origin.
