//! Output meant for people: on stdout, coloured and rewritten in place on a terminal only.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

/// Where a command prints. A reader that has gone away stops nothing: what is to be done is more important.
pub(super) struct Screen {
    out: AutoStream<std::io::Stdout>,
    is_terminal: bool,
    /// The last line, where it is to be written over.
    transient: Option<String>,
}

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();
pub(super) const HEADING: Style = Style::new().bold();

const CLEAR_LINE: &str = "\r\x1b[K";
const CLEAR_SCREEN: &str = "\x1b[H\x1b[J";

impl Screen {
    pub(super) fn new() -> Self {
        // This is no listener: its stdout is nobody's protocol.
        #[allow(clippy::disallowed_methods)]
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self { out: AutoStream::auto(stdout), is_terminal, transient: None }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// A line that stays.
    pub(super) fn line(&mut self, text: impl Display) {
        self.clear_transient();
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    /// A line that the next one replaces; on a terminal only, cut to its width.
    pub(super) fn transient(&mut self, text: &str) {
        if !self.is_terminal {
            return;
        }
        let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        // The cursor stands in the last column: a text of full width would begin another line.
        let text: String = text.chars().take(width.saturating_sub(1)).collect();
        if self.transient.as_ref() == Some(&text) {
            return;
        }
        self.clear_transient();
        let _ = write!(self.out, "{text}");
        let _ = self.out.flush();
        self.transient = Some(text);
    }

    /// Starts a page that replaces the one before.
    pub(super) fn page(&mut self) {
        if self.is_terminal {
            self.control(CLEAR_SCREEN);
        }
    }

    fn clear_transient(&mut self) {
        if self.transient.take().is_some() {
            self.control(CLEAR_LINE);
        }
    }

    /// Past the stream, which takes all control codes away where no colours are wanted.
    fn control(&mut self, code: &str) {
        let _ = self.out.flush();
        let _ = self.out.as_inner().write_all(code.as_bytes());
    }
}

impl Drop for Screen {
    /// What comes after it begins on a line of its own.
    fn drop(&mut self) {
        self.clear_transient();
        let _ = self.out.flush();
    }
}

/// Paints a text, if it ends up on a terminal.
pub(super) fn paint(style: Style, text: impl Display) -> String {
    let text = text.to_string();
    if text.is_empty() { text } else { format!("{style}{text}{style:#}") }
}

/// A table with aligned columns; the last one is not padded.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    pub(super) fn headed(names: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(names.iter().map(|name| ((*name).to_owned(), HEADING)).collect());
        table
    }

    pub(super) fn row(&mut self, cells: Vec<(String, Style)>) {
        self.rows.push(cells);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|(text, _)| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.rows.iter().map(|row| line(row, &widths)).collect()
    }
}

fn line(row: &[(String, Style)], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|((text, style), width)| {
        let padding = " ".repeat(width - text.chars().count());
        format!("{}{padding}", paint(*style, text))
    });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::default();
        for (first, second) in [("PROGRAM", "STATE"), ("wéb", "RUNNING"), ("a", "")] {
            table.row(vec![(first.to_owned(), Style::new()), (second.to_owned(), Style::new())]);
        }
        assert_eq!(table.lines(), ["PROGRAM  STATE", "wéb      RUNNING", "a"]);
    }
}
