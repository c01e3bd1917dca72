#!/bin/sh
# Prints a title as a file name: lower case, words joined by dashes.
printf '%s\n' "$1" | tr 'A-Z' 'a-z' | sed 's/ /-/'
