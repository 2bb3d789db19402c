//! schemathesis makes calls from the description, valid and invalid ones, and compares the answers with
//! it.
