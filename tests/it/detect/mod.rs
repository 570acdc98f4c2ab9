//! Block rules.

mod corpus;
mod rules;
