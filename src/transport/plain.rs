//! The plain tier: an honest client.
