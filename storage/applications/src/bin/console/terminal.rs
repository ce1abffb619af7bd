//! The first serial port: a console for people.
//!
//! One line at the bottom belongs to the editor, or to the progress of the command that runs;
//! everything else is printed above it. What is typed while a command runs waits for its end, but
//! for Ctrl-C.

use alloc::{
    collections::VecDeque,
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    cell::{Cell, RefCell},
    pin::pin,
};

use applications::{
    editor::{self, Editor, Input},
    records::Record,
    text,
};
use futures_util::future::{Either, select};
use runtime::time::sleep;

use crate::{output::Output, shell::Shell, signal::Signal, uart::Uart};

const PROMPT: &str = "galago> ";
/// Columns of a terminal that nobody has told us about.
const COLUMNS: usize = 80;
/// Bytes typed ahead that are kept.
const TYPED_AHEAD_MAX: usize = 4096;
/// How long a command may take to leave off by itself.
const STOP_NS: u64 = 2_000_000_000;

const RED: &str = "31";
const YELLOW: &str = "33";
const GREY: &str = "90";
const BOLD: &str = "1";

/// What the bottom line shows.
enum Bottom {
    Nothing,
    Editor,
    Progress(String),
}

/// The console.
pub struct Terminal {
    uart: Rc<Uart>,
    editor: RefCell<Editor>,
    bottom: RefCell<Bottom>,
    colours: Cell<bool>,
    /// Records above this level are not shown.
    level: Cell<u8>,
    lost: Cell<u64>,
    question: RefCell<Option<String>>,
    asked: Signal,
    answer: RefCell<Option<String>>,
    answered: Signal,
    typed_ahead: RefCell<VecDeque<u8>>,
}

impl Terminal {
    /// A console on this port.
    pub fn new(uart: Rc<Uart>) -> Self {
        Self {
            uart,
            editor: RefCell::new(Editor::new(COLUMNS)),
            bottom: RefCell::new(Bottom::Nothing),
            colours: Cell::new(true),
            level: Cell::new(3),
            lost: Cell::new(0),
            question: RefCell::default(),
            asked: Signal::default(),
            answer: RefCell::default(),
            answered: Signal::default(),
            typed_ahead: RefCell::default(),
        }
    }

    /// Switches colours.
    pub fn set_colours(&self, colours: bool) {
        self.colours.set(colours);
    }

    /// Shows records up to this level from now on.
    pub fn set_level(&self, level: u8) {
        self.level.set(level);
    }

    /// Records up to this level are shown.
    pub fn level(&self) -> u8 {
        self.level.get()
    }

    fn colour(&self, code: &str, text: &str) -> String {
        if self.colours.get() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }

    /// `printed` above the bottom line, which is drawn again.
    fn above(&self, printed: &str) -> Vec<u8> {
        let mut out = Vec::new();
        if !matches!(*self.bottom.borrow(), Bottom::Nothing) {
            out.extend_from_slice(b"\r\x1b[K");
        }
        out.extend_from_slice(printed.as_bytes());
        out.extend_from_slice(b"\r\n");
        match &*self.bottom.borrow() {
            Bottom::Nothing => {}
            Bottom::Editor => self.editor.borrow().draw(&mut out),
            Bottom::Progress(text) => out.extend_from_slice(text.as_bytes()),
        }
        out
    }

    /// Prints a line of the command that runs, or several separated by line feeds, in the place of
    /// its progress.
    pub async fn line(&self, text: &str) {
        if matches!(*self.bottom.borrow(), Bottom::Progress(_)) {
            self.clear_bottom().await;
        }
        let safe: Vec<_> = text
            .split('\n')
            .map(|line| text::printable(line.as_bytes()))
            .collect();
        let bytes = self.above(&safe.join("\r\n"));
        self.uart.write(&bytes).await;
    }

    /// Prints a record of the log, if it is to be shown and there is room.
    pub fn record(&self, record: &Record<'_>) {
        if record.level == 0 || record.level > self.level.get() {
            return;
        }
        let lost = self.lost.take();
        if lost > 0 {
            let note = format!("({lost} records were not shown: the terminal is too slow)");
            let note = self.above(&self.colour(GREY, &note));
            self.uart.try_write(&note);
        }
        let stamp = self.colour(GREY, &format!("[{}]", text::stamp(record.time_ns)));
        let task = self.colour(BOLD, record.task);
        let message = text::printable(record.text.as_bytes());
        let message = match record.level {
            1 => self.colour(RED, &message),
            2 => self.colour(YELLOW, &message),
            3 => message,
            _ => self.colour(GREY, &message),
        };
        if !self
            .uart
            .try_write(&self.above(&format!("{stamp} {task}: {message}")))
        {
            self.lost.set(lost + 1);
        }
    }

    /// Shows progress in the bottom line.
    pub fn progress(&self, text: &str, done: u64, total: u64) {
        let text = text::printable(text.as_bytes());
        let shown = match (u128::from(done) * 100).checked_div(u128::from(total)) {
            Some(percent) => format!("{percent:>3}% {text}"),
            None => text,
        };
        let shown: String = shown.chars().take(COLUMNS - 1).collect();
        if self.uart.try_write(format!("\r\x1b[K{shown}").as_bytes()) {
            *self.bottom.borrow_mut() = Bottom::Progress(shown);
        }
    }

    /// Asks a question and waits for a line.
    pub async fn ask(&self, question: &str) -> String {
        *self.question.borrow_mut() = Some(question.to_string());
        self.asked.raise();
        loop {
            let answered = self.answered.raised();
            if let Some(answer) = self.answer.borrow_mut().take() {
                return answer;
            }
            answered.await;
        }
    }

    /// Waits until everything is on its way out of the machine.
    pub async fn flush(&self, patience_ns: u64) {
        self.uart.flush(patience_ns).await;
    }

    async fn clear_bottom(&self) {
        let before = core::mem::replace(&mut *self.bottom.borrow_mut(), Bottom::Nothing);
        if !matches!(before, Bottom::Nothing) {
            self.uart.write(b"\r\x1b[K").await;
        }
    }

    async fn next_byte(&self) -> u8 {
        let typed = self.typed_ahead.borrow_mut().pop_front();
        match typed {
            Some(byte) => byte,
            None => self.uart.read().await,
        }
    }

    /// Lets the user edit a line.
    async fn edit(&self, prompt: &str, columns: usize) -> Input {
        let mut out = Vec::new();
        {
            let mut editor = self.editor.borrow_mut();
            editor.clear();
            editor.set_prompt(prompt, columns);
            // The window may have been resized since.
            if self.colours.get() {
                out.extend_from_slice(editor::ASK_WIDTH.as_bytes());
            }
            editor.draw(&mut out);
            *self.bottom.borrow_mut() = Bottom::Editor;
        }
        loop {
            self.uart.write(&out).await;
            out.clear();
            let byte = self.next_byte().await;
            let input = self.editor.borrow_mut().feed(byte, &mut out);
            match input {
                // With nothing to end, Ctrl-D means nothing.
                Input::Nothing | Input::End => {}
                input => {
                    *self.bottom.borrow_mut() = Bottom::Nothing;
                    self.uart.write(&out).await;
                    return input;
                }
            }
        }
    }

    /// Reads lines and runs them, for ever.
    pub async fn serve(self: Rc<Self>, shell: Rc<Shell>) {
        loop {
            let prompt = self.colour(BOLD, PROMPT.trim_end());
            if let Input::Line(line) = self.edit(&format!("{prompt} "), PROMPT.len()).await {
                self.run(&shell, &line).await;
            }
        }
    }

    async fn run(self: &Rc<Self>, shell: &Rc<Shell>, line: &str) {
        let output = Output::terminal(self.clone());
        let command = pin!(shell.run_line(&output, line));
        let listening = pin!(self.listen(&output));
        let result = match select(command, listening).await {
            Either::Left((result, _)) => Some(result),
            Either::Right(_) => None,
        };
        self.clear_bottom().await;
        match result {
            Some(Ok(_)) => {}
            Some(Err(failure)) => {
                let text = text::printable(failure.0.as_bytes());
                self.uart
                    .write(format!("{}\r\n", self.colour(RED, &text)).as_bytes())
                    .await;
            }
            None => self.uart.write(b"given up: it did not leave off\r\n").await,
        }
        self.question.borrow_mut().take();
        self.answer.borrow_mut().take();
    }

    /// Listens to the user while a command runs; ends if the command must be given up.
    async fn listen(&self, output: &Output) {
        loop {
            let question = self.question.borrow_mut().take();
            if let Some(question) = question {
                self.clear_bottom().await;
                let columns = question.chars().count();
                let answer = match self.edit(&question, columns).await {
                    Input::Line(line) => line,
                    _ => String::new(),
                };
                *self.answer.borrow_mut() = Some(answer);
                self.answered.raise();
                continue;
            }
            let byte = match select(pin!(self.asked.raised()), pin!(self.uart.read())).await {
                Either::Left(_) => continue,
                Either::Right((byte, _)) => byte,
            };
            if byte == 3 {
                output.stop();
                self.typed_ahead.borrow_mut().clear();
                self.uart.write(b"^C").await;
                sleep(STOP_NS).await;
                return;
            }
            let mut typed_ahead = self.typed_ahead.borrow_mut();
            if typed_ahead.len() < TYPED_AHEAD_MAX {
                typed_ahead.push_back(byte);
            }
        }
    }
}
