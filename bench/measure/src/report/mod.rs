//! One self-contained page: a verdict, facts, sections with tables and pictures. No network, no scripts.
//!
//! A page is made from values, never from strings of HTML: all text is escaped where it is written.

mod draw;
mod figure;
mod html;
mod matrix;

pub use figure::{
    Bar, Bars, Better, Curve, Figure, HeatMap, Knee, KneeSeries, Line, Lines, Load, Matrix, MatrixCell,
    MatrixRow, Percentiles, Picture, Scale, Span, Threshold,
};

use crate::table::{Table, Tone};

/// A page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// In the window's title and at the top.
    pub title: String,
    /// Under the title: what, where, when.
    pub subtitle: String,
    /// The answer, before everything else.
    pub verdict: Option<Verdict>,
    /// What a reader has to know of the conditions.
    pub facts: Vec<Fact>,
    /// In this order; each with an entry in the contents.
    pub sections: Vec<Section>,
    /// The last line: who made the page from what.
    pub footer: String,
}

/// The answer in a line, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Good, bad, or something to look at.
    pub tone: Tone,
    /// A line: `Fit for Kubernetes of 1,000 nodes`.
    pub headline: String,
    /// A sentence each.
    pub reasons: Vec<String>,
    /// The few figures that count, large: `p99 at 64 writers` and `2.1 ms`.
    pub figures: Vec<Fact>,
}

/// A name and a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// What.
    pub name: String,
    /// How much, or which.
    pub value: String,
    /// Why it matters; empty where everybody knows.
    pub why: String,
    /// What it means.
    pub tone: Tone,
}

impl Fact {
    /// Without a reason or a meaning.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Fact {
        Fact { name: name.into(), value: value.into(), ..Fact::default() }
    }

    /// Why it matters.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Fact {
        self.why = why.into();
        self
    }

    /// What it means.
    #[must_use]
    pub fn tone(mut self, tone: Tone) -> Fact {
        self.tone = tone;
        self
    }
}

/// A part with a title of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// For links: lower case, digits and hyphens.
    pub id: String,
    /// What it says, rather than what it is about, where that is possible.
    pub title: String,
    /// From top to bottom.
    pub blocks: Vec<Block>,
}

impl Section {
    /// Without blocks yet.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Section {
        Section { id: id.into(), title: title.into(), blocks: Vec::new() }
    }

    /// One block more.
    #[must_use]
    pub fn with(mut self, block: impl Into<Block>) -> Section {
        self.blocks.push(block.into());
        self
    }
}

/// A piece of a section.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// A finding that must not be overlooked.
    Note(Tone, String),
    /// Names, values, and why they matter.
    Facts(Vec<Fact>),
    /// A table.
    Table(Table),
    /// A picture with its title and the table behind it.
    Figure(Box<Figure>),
}

impl From<&str> for Block {
    fn from(text: &str) -> Block {
        Block::Text(text.to_owned())
    }
}

impl From<String> for Block {
    fn from(text: String) -> Block {
        Block::Text(text)
    }
}

impl From<Vec<Fact>> for Block {
    fn from(facts: Vec<Fact>) -> Block {
        Block::Facts(facts)
    }
}

impl From<Table> for Block {
    fn from(table: Table) -> Block {
        Block::Table(table)
    }
}

impl From<Figure> for Block {
    fn from(figure: Figure) -> Block {
        Block::Figure(Box::new(figure))
    }
}
