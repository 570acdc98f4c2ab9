//! The browser tier: a headless Chromium that runs the page's JavaScript.
