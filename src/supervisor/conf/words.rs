//! Python's `shlex`, the two ways supervisor uses it: a command's words, and `environment=`.
//!
//! A crate for a shell's words reads commands in other ways than supervisord, which would start something else
//! than was checked: to `shlex.split` a `#` is a letter like others, a backslash before a line end makes the line
//! end a part of the word, in double quotes only `"` and `\` can be escaped, a carriage return ends a word, and a
//! backslash at the very end is an error.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use thiserror::Error;

/// Why a text has no words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WordsError {
    /// A quote without its other half.
    #[error("a quote is not closed")]
    OpenQuote,
    /// Nothing behind the last backslash.
    #[error("nothing follows the backslash at the end")]
    LoneBackslash,
    /// Not `KEY=value,KEY=value`.
    #[error("expected `KEY=\"value\",KEY=\"value\"`; most signs in a value need the quotes")]
    Pairs,
}

type Letters<'a> = Peekable<Chars<'a>>;

/// `shlex.split(text)`.
pub(super) fn split(text: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        while letters.next_if(|letter| is_blank(*letter)).is_some() {}
        if letters.peek().is_none() {
            return Ok(words);
        }
        words.push(word(&mut letters)?);
    }
}

fn word(letters: &mut Letters) -> Result<String, WordsError> {
    let mut word = String::new();
    while let Some(letter) = letters.next_if(|letter| !is_blank(*letter)) {
        match letter {
            '\'' => single_quoted(letters, &mut word)?,
            '"' => double_quoted(letters, &mut word)?,
            '\\' => word.push(letters.next().ok_or(WordsError::LoneBackslash)?),
            letter => word.push(letter),
        }
    }
    Ok(word)
}

fn single_quoted(letters: &mut Letters, word: &mut String) -> Result<(), WordsError> {
    loop {
        match letters.next().ok_or(WordsError::OpenQuote)? {
            '\'' => return Ok(()),
            letter => word.push(letter),
        }
    }
}

fn double_quoted(letters: &mut Letters, word: &mut String) -> Result<(), WordsError> {
    loop {
        match letters.next().ok_or(WordsError::OpenQuote)? {
            '"' => return Ok(()),
            '\\' => {
                let escaped = letters.next().ok_or(WordsError::LoneBackslash)?;
                if !matches!(escaped, '"' | '\\') {
                    word.push('\\');
                }
                word.push(escaped);
            }
            letter => word.push(letter),
        }
    }
}

/// supervisor's `dict_of_key_value_pairs`: tokens of `shlex.shlex`, taken four at a time. What the fourth is,
/// nobody looks at.
pub(super) fn pairs(text: &str) -> Result<BTreeMap<String, String>, WordsError> {
    let tokens = tokens(text)?;
    let pair = |chunk: &[String]| match chunk {
        [key, equals, value, ..] if equals == "=" => {
            Ok((key.clone(), value.trim_matches(['\'', '"']).to_owned()))
        }
        _ => Err(WordsError::Pairs),
    };
    tokens.chunks(4).map(pair).collect()
}

/// `shlex.shlex(text)`, not POSIX: quotes stay where they are, a backslash is a letter.
fn tokens(text: &str) -> Result<Vec<String>, WordsError> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '#' => skip_comment(&mut letters),
            letter if is_blank(letter) => {}
            '\'' | '"' => tokens.push(quoted(&mut letters, letter)?),
            letter if is_word(letter) => tokens.push(token(&mut letters, letter)),
            letter => tokens.push(letter.to_string()),
        }
    }
    Ok(tokens)
}

/// A quote within a word is a letter, and a comment within a word is left out of it.
fn token(letters: &mut Letters, first: char) -> String {
    let mut token = String::from(first);
    while let Some(letter) = letters.next_if(|letter| is_word(*letter) || matches!(letter, '\'' | '"' | '#'))
    {
        if letter == '#' {
            skip_comment(letters);
        } else {
            token.push(letter);
        }
    }
    token
}

fn quoted(letters: &mut Letters, quote: char) -> Result<String, WordsError> {
    let mut token = String::from(quote);
    loop {
        let letter = letters.next().ok_or(WordsError::OpenQuote)?;
        token.push(letter);
        if letter == quote {
            return Ok(token);
        }
    }
}

fn skip_comment(letters: &mut Letters) {
    letters.find(|letter| *letter == '\n');
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_/.+-():".contains(letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_is_split_as_python_does_it() {
        let read = |text: &str| split(text).map(|words| words.join("|"));
        for (text, words) in [
            ("", ""),
            (" a  b\tc\nd\re ", "a|b|c|d|e"),
            ("a #b c#d", "a|#b|c#d"),
            ("'a b' \"c d\"e'f'", "a b|c def"),
            ("a '' \"\"", "a||"),
            (r"a\ b \'", "a b|'"),
            (r#"'a\b' "a\b\$\`\"\\""#, r#"a\b|a\b\$\`"\"#),
            ("a \\\n b", "a|\n|b"),
            ("\u{a0}a\u{2003}b", "\u{a0}a\u{2003}b"),
        ] {
            assert_eq!(read(text), Ok(words.into()), "{text:?}");
        }
        assert_eq!(read("a 'b"), Err(WordsError::OpenQuote));
        assert_eq!(read("a \"b\\"), Err(WordsError::LoneBackslash));
        assert_eq!(read("a \\"), Err(WordsError::LoneBackslash));
    }

    #[test]
    fn an_environment_is_read_as_supervisor_does_it() {
        let read = |text: &str| {
            let pairs = pairs(text)?;
            Ok(pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("|"))
        };
        for (text, pairs) in [
            ("", ""),
            ("A=1,B=2", "A=1|B=2"),
            (" A = 1 ,\nB = 2,\n", "A=1|B=2"),
            (r#"A="a,b=c",B='d "e"',C="""#, r#"A=a,b=c|B=d "e|C="#),
            ("PATH=/usr/bin:/bin,URL=http://h:9001", "PATH=/usr/bin:/bin|URL=http://h:9001"),
            ("A=it's", "A=it's"),
            ("A=1#x,B=2\n,C=3", "A=1|C=3"),
            ("A=1#x\nB", "A=1B"),
            ("A=1 B C=2", "A=1|C=2"),
            ("A=1;B=2", "A=1|B=2"),
            ("A=\u{e9}", "A=\u{e9}"),
            ("A=1,A=2", "A=2"),
            (r"A=\n", r"A=\"),
        ] {
            assert_eq!(read(text), Ok(pairs.into()), "{text:?}");
        }
        for text in ["A", "A=", "A=1,B", "A=1,,B=2", "A:1", "A=a@b,B=1", "A=1,B=,C=2"] {
            assert_eq!(read(text), Err(WordsError::Pairs), "{text:?}");
        }
        assert_eq!(read("A=\"1"), Err(WordsError::OpenQuote));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), signs in "[a=,#'\"\\\\ \n]{0,30}") {
            for text in [text, signs] {
                let _ = split(&text);
                let _ = pairs(&text);
            }
        }
    }
}
