//! Rules by themselves: which rows stay.
