//! A small project with tests of its own and a fault, in plain shell, and the skill that tells how to mend it.

use std::fs;
use std::path::Path;

/// The fault: it adds where it should multiply.
pub(super) const DOUBLE: &str = "# Doubles a number.\ndouble() {\n  echo $(($1 + 2))\n}\n";

/// Without the fault.
pub(super) const DOUBLE_MENDED: &str = "# Doubles a number.\ndouble() {\n  echo $(($1 * 2))\n}\n";

/// Its tests.
const TESTS: &str = r#"#!/bin/sh
# Runs every test; says which fail.
cd "$(dirname "$0")/.." || exit 2
. lib/double.sh
failed=0
check() {
  if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: $2 is not $3"; failed=1; fi
}
check "two" "$(double 2)" 4
check "twenty-one" "$(double 21)" 42
exit $failed
"#;

/// The skill that is offered to both agents.
pub(super) const SKILL: &str = "---\nname: mending\ndescription: How failing tests are mended here\n---\n\n# Mending\n\n\
    Read the function that fails, mend it, run tests/run.sh again, and write into /memories what you learned.\n";

/// Writes the project.
pub(super) fn write(folder: &Path) {
    for name in ["lib", "tests"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("lib/double.sh"), DOUBLE).unwrap();
    fs::write(folder.join("tests/run.sh"), TESTS).unwrap();
    fs::write(folder.join("README.md"), "# App\n\nDoubles numbers. See lib/double.sh.\n").unwrap();
    fs::write(folder.join("old.txt"), "out of date\n").unwrap();
}
