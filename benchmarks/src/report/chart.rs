//! The chart `benchmarks.svg`: a panel per workload, a bar per contender.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::contender::{Entry, Family};
use crate::report::table;
use crate::rounds::Results;
use crate::workload::Workload;

/// Measures in pixels. A page of a repository is about as wide.
const WIDTH: u32 = 1_000;
const PANELS_PER_ROW: usize = 2;
const MARGIN: i32 = 16;
const TITLE: i32 = 28;
const BAR: i32 = 16;
const BAR_GAP: i32 = 4;
const NAMES: i32 = 130;
const FIGURES: i32 = 60;
const FONT: &str = "sans-serif";
/// In the measure of the library, which is 1.24 times a pixel.
const TEXT_SIZE: u32 = 15;
const TITLE_SIZE: u32 = 18;
const INK: RGBColor = RGBColor(40, 40, 40);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A workload and the figures to draw.
struct Panel {
    title: String,
    bars: Vec<(&'static Entry, f64, String)>,
}

/// The chart as SVG.
pub(crate) fn svg(results: &Results) -> Result<String> {
    let panels: Vec<Panel> = results
        .workloads
        .iter()
        .map(|&workload| Panel::of(results, workload))
        .filter(|panel| !panel.bars.is_empty())
        .collect();
    let rows: Vec<&[Panel]> = panels.chunks(PANELS_PER_ROW).collect();
    let heights: Vec<i32> = rows.iter().map(|row| height_of(row)).collect();
    let height = heights.iter().sum::<i32>() + MARGIN;

    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height.unsigned_abs())).into_drawing_area();
        root.fill(&WHITE)?;
        let width = (WIDTH as i32 - MARGIN) / PANELS_PER_ROW as i32;
        let mut top = 0;
        for (row, height) in rows.iter().zip(heights) {
            for (column, panel) in row.iter().enumerate() {
                let left = MARGIN + column as i32 * width;
                panel.draw(&root, (left, top + MARGIN), width - MARGIN)?;
            }
            top += height;
        }
        root.present()?;
    }
    Ok(text)
}

fn height_of(row: &[Panel]) -> i32 {
    let most = row.iter().map(|panel| panel.bars.len()).max().unwrap_or(0) as i32;
    MARGIN + TITLE + most * (BAR + BAR_GAP)
}

impl Panel {
    fn of(results: &Results, workload: Workload) -> Self {
        let unit = workload.unit();
        let bar = |entry: &&'static Entry| {
            let value = results.median(entry, workload)?.value;
            // What keeps nothing would dwarf those that wait for the disk.
            let comparable = entry.durable || !workload.is_durable();
            comparable.then(|| (*entry, value, table::shown(unit, value)))
        };
        Self {
            title: format!("{}, {}", workload.title(), unit.name()),
            bars: results.entries.iter().filter_map(bar).collect(),
        }
    }

    fn draw(&self, root: &Area<'_>, (left, top): (i32, i32), width: i32) -> Result<()> {
        let title = (FONT, TITLE_SIZE).into_font().style(FontStyle::Bold).color(&INK);
        root.draw_text(&self.title, &title, (left, top))?;
        let most = self
            .bars
            .iter()
            .map(|(_, value, _)| *value)
            .fold(f64::MIN_POSITIVE, f64::max);
        let plain = (FONT, TEXT_SIZE).into_font().color(&INK);
        for (number, (entry, value, figure)) in self.bars.iter().enumerate() {
            let bar_top = top + TITLE + number as i32 * (BAR + BAR_GAP);
            let middle = bar_top + BAR / 2;
            let start = left + NAMES;
            let end = start
                + (f64::from(width - NAMES - FIGURES) * value / most)
                    .round()
                    .max(1.0) as i32;
            let name = plain.pos(Pos::new(HPos::Right, VPos::Center));
            root.draw_text(entry.name, &name, (start - 6, middle))?;
            let bar = [(start, bar_top), (end, bar_top + BAR)];
            root.draw(&Rectangle::new(bar, color(entry.family).filled()))?;
            let figure_style = plain.pos(Pos::new(HPos::Left, VPos::Center));
            root.draw_text(figure, &figure_style, (end + 5, middle))?;
        }
        Ok(())
    }
}

fn color(family: Family) -> RGBColor {
    match family {
        Family::Raw => RGBColor(150, 150, 150),
        Family::Bare => RGBColor(140, 190, 225),
        Family::Ours => RGBColor(20, 105, 180),
        Family::Peer => RGBColor(230, 150, 60),
    }
}
