//! Who may drive.
