//! CDP commands with only the parameters and results that are used, so that changes to others do not break parsing.

/// Makes a type of parameters a CDP command with a method and a type of results.
macro_rules! command {
    ($parameters:ty, $method:literal, $results:ty) => {
        impl chromiumoxide_types::Method for $parameters {
            fn identifier(&self) -> chromiumoxide_types::MethodId {
                $method.into()
            }
        }

        impl chromiumoxide_types::Command for $parameters {
            type Response = $results;
        }
    };
}
pub(super) use command;
