//! Pictures as inline SVG, drawn twice: for a desk and for a phone. The page's style shows the one that fits.
//!
//! Colors are classes, so that dark mode and print need no other picture. Widths of text are estimated from the widest of the
//! usual fonts, so that nothing is cut where another one is installed.

mod axis;
mod bars;
mod heat_map;
mod knee;
mod lines;
mod percentiles;
mod plot;
mod svg;

use super::figure::{Figure, Picture};

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A desk, and print.
    Wide,
    /// A phone.
    Narrow,
}

impl Room {
    pub(super) fn width(self) -> f64 {
        match self {
            Room::Wide => 760.0,
            Room::Narrow => 350.0,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Room::Wide => "wide",
            Room::Narrow => "narrow",
        }
    }
}

/// Both pictures of a figure. A matrix has none: it is a table with colors.
pub(super) fn pictures(figure: &Figure, number: usize) -> String {
    [Room::Wide, Room::Narrow].into_iter().filter_map(|room| picture(figure, room, number)).collect()
}

fn picture(figure: &Figure, room: Room, number: usize) -> Option<String> {
    let drawn = match &figure.picture {
        Picture::Percentiles(picture) => percentiles::draw(picture, room),
        Picture::HeatMap(picture) => heat_map::draw(picture, room),
        Picture::Knee(picture) => knee::draw(picture, room),
        Picture::Bars(picture) => bars::draw(picture, room),
        Picture::Lines(picture) => lines::draw(picture, room),
        Picture::Matrix(_) => return None,
    };
    let id = format!("f{number}-{}", room.class());
    Some(drawn.finish(&id, room.class(), &figure.title, &figure.caption))
}
