//! What tests of many programs print, which come without a harness, and how they end.

use std::process::ExitCode;

/// How many things were as they should be, and how many not.
#[derive(Default)]
pub struct Score {
    passed: usize,
    failed: usize,
    /// Programs that could not run, and need not.
    left_out: usize,
}

impl Score {
    /// Tells what became of something that a program did. Returns whether it went well.
    pub fn count(&mut self, program: &str, what: &str, result: Result<(), String>) -> bool {
        match &result {
            Ok(()) => {
                self.passed += 1;
                println!("ok      {program}: {what}");
            }
            Err(why) => {
                self.failed += 1;
                println!("FAILED  {program}: {what}\n{why}");
            }
        }
        result.is_ok()
    }

    /// Tells what a program lacks, and what installs it: a failure, unless the program may be left out.
    pub fn leave_out(&mut self, program: &str, missing: &str, script: &str, is_optional: bool) {
        println!("NOT RUN {program}: no {missing}; {script} installs it");
        self.left_out += usize::from(is_optional);
        self.failed += usize::from(!is_optional);
    }

    /// A run without anything that passed is none.
    pub fn end(self) -> ExitCode {
        println!(
            "\n{} passed, {} failed, {} not run",
            self.passed, self.failed, self.left_out
        );
        if self.failed == 0 && self.passed > 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// The programs that the command line names; all of them where it names none.
pub fn is_wanted(program: &str) -> bool {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .peekable();
    words.peek().is_none() || words.any(|word| word == program)
}
