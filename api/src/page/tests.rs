//! The page over HTTP, as a browser (or somebody who only pretends to be one) meets it.

mod access;
mod browser;
mod hostile;
mod html;
mod pages;
