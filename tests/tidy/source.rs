//! A reader of Rust source, as much as the rules of the house need: what is code, which paths it names, how long its functions are.
//! It knows no rule, and does not parse: macros are read as they stand.

/// A path that code names, in an import or in place.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) line: usize,
    /// As written, with the groups of an import multiplied out; a glob ends in `*`.
    pub(super) segments: Vec<String>,
    pub(super) is_import: bool,
    /// How many modules within the file surround it.
    inner_depth: usize,
}

impl Used {
    /// Whether the segments of `what` occur in it, side by side.
    pub(super) fn names(&self, what: &str) -> bool {
        let wanted: Vec<&str> = what.split("::").collect();
        self.segments.windows(wanted.len()).any(|part| part == wanted)
    }

    /// Whether it leads into the external crate of this name.
    pub(super) fn is_of_crate(&self, name: &str) -> bool {
        self.segments.first().is_some_and(|first| first == name) && (self.is_import || self.segments.len() > 1)
    }

    /// The name right below the crate's root that it leads to, if it goes by the root at all, written in a file so many modules deep.
    pub(super) fn room(&self, file_depth: usize) -> Option<&str> {
        let supers = self.segments.iter().take_while(|segment| *segment == "super").count();
        let is_absolute = self.segments.first().is_some_and(|first| first == "crate");
        if !is_absolute && (supers == 0 || supers < file_depth + self.inner_depth) {
            return None;
        }
        match self.segments.get(supers.max(1)) {
            Some(room) => Some(room),
            None => self.is_import.then_some("crate"),
        }
    }
}

/// A function with a body, from the line of its `fn` to the line of its last brace.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

/// A word, a `::`, or any other single character.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) word: String,
}

pub(super) fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text with comments, strings and characters blanked out, line for line.
pub(super) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut rest = chars.as_slice();
    while let Some((&first, behind)) = rest.split_first() {
        let len = comment_len(rest).or_else(|| literal_len(rest)).unwrap_or(0);
        if len == 0 {
            code.push(first);
            rest = behind;
        } else {
            code.extend(rest.iter().take(len).map(|&c| if c == '\n' { c } else { ' ' }));
            rest = rest.get(len..).unwrap_or_default();
        }
    }
    code
}

/// Every path that the code names.
pub(super) fn paths(text: &str) -> Vec<Used> {
    let mut reader = Reader { tokens: tokens(text), at: 0, depth: 0, modules: Vec::new(), found: Vec::new() };
    while !reader.word(0).is_empty() {
        reader.step();
    }
    reader.found
}

/// Every function that has a body, also those within others.
pub(super) fn functions(text: &str) -> Vec<Function> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let [key, name] = pair else { continue };
        if key.word != "fn" || !name.word.starts_with(is_name_char) {
            continue;
        }
        if let Some(last_line) = tokens.get(at..).and_then(body_end) {
            let lines = last_line + 1 - key.line;
            found.push(Function { name: name.word.clone(), line: key.line, lines });
        }
    }
    found
}

pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, words) in (1..).zip(code_only(text).lines()) {
        let mut rest = words.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if is_name_char(first) {
                rest.find(|c| !is_name_char(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (word, behind) = rest.split_at(len);
            tokens.push(Token { line, word: word.to_owned() });
            rest = behind.trim_start();
        }
    }
    tokens
}

/// Walks the tokens once, and gathers paths.
struct Reader {
    tokens: Vec<Token>,
    at: usize,
    /// Open braces.
    depth: usize,
    /// Depths at which the modules around this point began.
    modules: Vec<usize>,
    found: Vec<Used>,
}

impl Reader {
    fn word(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| &token.word)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |token| token.line)
    }

    fn step(&mut self) {
        match (self.word(0), self.word(1), self.word(2)) {
            // `use<'a>` is a bound, not an import.
            ("use", next, _) if next != "<" => {
                self.at += 1;
                self.import(&[]);
            }
            ("mod", _, "{") => {
                self.modules.push(self.depth);
                self.depth += 1;
                self.at += 3;
            }
            ("{", ..) => {
                self.depth += 1;
                self.at += 1;
            }
            ("}", ..) => {
                self.depth = self.depth.saturating_sub(1);
                self.modules.pop_if(|began| *began == self.depth);
                self.at += 1;
            }
            (word, ..) if word.starts_with(is_name_char) => self.path_in_place(),
            _ => self.at += 1,
        }
    }

    fn path_in_place(&mut self) {
        let line = self.line();
        let mut segments = vec![self.word(0).to_owned()];
        self.at += 1;
        while self.word(0) == "::" && self.word(1).starts_with(is_name_char) {
            segments.push(self.word(1).to_owned());
            self.at += 2;
        }
        self.push(line, segments, false);
    }

    /// One branch of an import, up to the `,` `}` or `;` that ends it.
    fn import(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let mut line = self.line();
        loop {
            match self.word(0) {
                "" | "," | "}" | ";" => break,
                "as" => self.at += 1,
                "{" => return self.import_group(&segments),
                "*" => segments.push("*".to_owned()),
                word if word.starts_with(is_name_char) => {
                    segments.push(word.to_owned());
                    line = self.line();
                }
                _ => (),
            }
            self.at += 1;
        }
        segments.pop_if(|last| last == "self");
        self.push(line, segments, true);
    }

    fn import_group(&mut self, prefix: &[String]) {
        self.at += 1;
        while !matches!(self.word(0), "" | "}" | ";") {
            if self.word(0) == "," {
                self.at += 1;
            } else {
                self.import(prefix);
            }
        }
        self.at += 1;
    }

    fn push(&mut self, line: usize, segments: Vec<String>, is_import: bool) {
        self.found.push(Used { line, segments, is_import, inner_depth: self.modules.len() });
    }
}

/// Line of the brace that ends the body of the function at whose `fn` the tokens begin; none if it has no body.
fn body_end(tokens: &[Token]) -> Option<usize> {
    let (mut brackets, mut braces) = (0_usize, 0_usize);
    for token in tokens {
        match token.word.as_str() {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets = brackets.saturating_sub(1),
            ";" if braces == 0 && brackets == 0 => return None,
            "{" if braces > 0 || brackets == 0 => braces += 1,
            "}" if braces == 1 => return Some(token.line),
            "}" => braces = braces.saturating_sub(1),
            _ => (),
        }
    }
    None
}

/// Length of the comment that begins here, without the newline that ends a line comment.
fn comment_len(rest: &[char]) -> Option<usize> {
    if rest.starts_with(&['/', '/']) {
        return Some(rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(&['/', '*']) {
        return None;
    }
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(tail) = rest.get(at..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if tail.starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// Length of the string or character that begins here, prefix included. A lifetime is neither.
fn literal_len(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    let is_raw = rest.iter().take(prefix).any(|&c| c == 'r');
    let body = rest.get(prefix..)?;
    if is_raw {
        let hashes = body.iter().take_while(|&&c| c == '#').count();
        let inside = body.get(hashes..)?.strip_prefix(&['"'])?;
        let end: Vec<char> = core::iter::once('"').chain(core::iter::repeat_n('#', hashes)).collect();
        let len = inside.windows(end.len()).position(|part| part == end).unwrap_or(inside.len());
        return Some(prefix + hashes + 1 + len + end.len());
    }
    match body {
        ['"', inside @ ..] => Some(prefix + 1 + quoted_len(inside, '"')),
        ['\'', '\\', escaped, inside @ ..] if escaped.is_ascii() => Some(prefix + 3 + quoted_len(inside, '\'')),
        ['\'', _, '\'', ..] => Some(prefix + 3),
        _ => None,
    }
}

/// Length up to and with the quote that is not escaped.
fn quoted_len(inside: &[char], quote: char) -> usize {
    let mut is_escaped = false;
    for (at, &c) in inside.iter().enumerate() {
        if !is_escaped && c == quote {
            return at + 1;
        }
        is_escaped = !is_escaped && c == '\\';
    }
    inside.len()
}
