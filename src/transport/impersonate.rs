//! The impersonate tier: the same engine wearing a real browser.
