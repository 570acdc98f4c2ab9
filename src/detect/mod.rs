//! What an answer is: genuine, or a block with kind, vendor, confidence and evidence. Pure.
