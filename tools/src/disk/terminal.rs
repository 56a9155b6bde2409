//! Where the command talks: results go to standard output, progress and complaints to standard error.

use std::fmt::Display;
use std::io::{self, Write};

/// A line of the result. A reader that has gone away is no reason to stop measuring: there may be a JSON file too.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A line about what happens meanwhile.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A length of time for people, not finer than they wait.
pub(crate) fn time_text(time: std::time::Duration) -> String {
    match time.as_secs() {
        0..1 => "a second".to_owned(),
        seconds @ 1..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// In lines that fit; a word that is longer than a line is cut.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word = word;
        loop {
            let line = lines.last_mut().expect("there is always one");
            let needed = line.len() + usize::from(!line.is_empty()) + word.len();
            if needed <= width {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
                break;
            }
            if line.is_empty() {
                let cut = (0..=width).rev().find(|&cut| word.is_char_boundary(cut)).unwrap_or(0).max(1);
                line.push_str(&word[..cut]);
                word = &word[cut..];
            }
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wider_than_a_terminal() {
        let long = "x".repeat(200);
        for text in ["", "word", "rw,relatime,discard", long.as_str(), &format!("a {long} b")] {
            let lines = wrapped(text, 40);
            assert!(!lines.is_empty() && lines.iter().all(|line| line.len() <= 40), "{lines:?}");
            let count = |text: &str| text.chars().filter(|letter| *letter != ' ').count();
            assert_eq!(lines.iter().map(|line| count(line)).sum::<usize>(), count(text));
        }
    }
}
