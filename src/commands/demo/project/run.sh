#!/bin/sh
# Runs the tests; --slow runs the slow ones too.
cd "$(dirname "$0")/.." || exit 2
failed=0
expect() {
  got=$(sh slug.sh "$1")
  if [ "$got" = "$2" ]; then
    echo "ok    $1"
  else
    echo "FAIL  $1: expected $2, got $got"
    failed=1
  fi
}
expect "Title" "title"
expect "A Title" "a-title"
expect "A Longer Title" "a-longer-title"
if [ "$1" = --slow ]; then
  for number in 1 2 3 4; do
    sleep 1
    expect "Chapter $number of 4" "chapter-$number-of-4"
  done
fi
exit $failed
