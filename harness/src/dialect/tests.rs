//! The dialect against a scripted server.
