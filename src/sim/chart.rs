//! Charts as SVG: lines or bars with axes, labels and a legend, on a light ground, without fonts or scripts of others. It must not
//! know what it draws. Source: spec/simulation.md §5.

use core::fmt::Write as _;

use super::draw::{real_count, whole};
use super::report::grouped;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 430.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 48.0;
/// Room for the labels of the axis and for the legend.
const BOTTOM: f64 = 96.0;
/// Lines across the chart.
const TICKS: f64 = 6.0;
/// Colours that stay apart for the colour-blind. Source: Okabe and Ito, Color Universal Design (2008).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444"];

/// How points are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Joined, over a scale.
    Lines,
    /// Side by side, over names: a point's `x` is the number of its name.
    Bars,
}

/// How a scale goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// By sums, from zero.
    Linear,
    /// By factors of ten; what is not above zero is left out.
    Log,
}

/// Points of one kind.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// `x` and `y`, by `x`.
    pub points: Vec<(f64, f64)>,
}

/// One picture.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Chart {
    /// Of the file: small letters and hyphens.
    pub name: String,
    /// Over the picture.
    pub title: String,
    /// Under the horizontal axis.
    pub x_label: String,
    /// Beside the vertical axis.
    pub y_label: String,
    /// Lines or bars.
    pub shape: Shape,
    /// Of the horizontal axis, for lines.
    pub x_scale: Scale,
    /// Of the vertical axis.
    pub y_scale: Scale,
    /// Names under bars.
    pub categories: Vec<String>,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// One direction of the picture: what values lie where.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    /// Where the low and the high end are.
    ends: (f64, f64),
}

impl Chart {
    /// Lines over a linear scale, without any yet.
    #[must_use]
    pub fn lines(name: &str, title: &str, x_label: &str, y_label: &str) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            x_label: x_label.to_owned(),
            y_label: y_label.to_owned(),
            shape: Shape::Lines,
            x_scale: Scale::Linear,
            y_scale: Scale::Linear,
            categories: Vec::new(),
            series: Vec::new(),
        }
    }

    /// Bars over names, without any yet.
    #[must_use]
    pub fn bars(name: &str, title: &str, y_label: &str, categories: &[&str]) -> Self {
        let categories = categories.iter().map(|one| (*one).to_owned()).collect();
        Self { shape: Shape::Bars, categories, ..Self::lines(name, title, "", y_label) }
    }

    /// The same with these scales.
    #[must_use]
    pub const fn scaled(mut self, x: Scale, y: Scale) -> Self {
        (self.x_scale, self.y_scale) = (x, y);
        self
    }

    /// Adds a series; what is no number is left out.
    pub fn add(&mut self, name: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let points = points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        self.series.push(Series { name: name.to_owned(), points });
    }

    /// Takes in the series of the same chart by another part of a run: points of equal names come after those that are here, equal
    /// points once.
    pub fn take(&mut self, part: Self) {
        for series in part.series {
            match self.series.iter_mut().find(|one| one.name == series.name) {
                Some(one) => {
                    let new: Vec<_> = series.points.into_iter().filter(|point| !one.points.contains(point)).collect();
                    one.points.extend(new);
                }
                None => self.series.push(series),
            }
        }
    }

    /// The file that it is written to, by the name of its report.
    #[must_use]
    pub fn file_name(&self, report: &str) -> String {
        format!("{report}-{}.svg", self.name)
    }

    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut out = String::new();
        // As high as the legend takes.
        let height = self.legend_places().last().map_or(HEIGHT, |(_, y)| HEIGHT.max(y + 14.0));
        line(
            &mut out,
            &format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">"
            ),
        );
        line(&mut out, &format!("<title>{}</title>", escaped(&self.title)));
        line(&mut out, &format!("<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>"));
        text(&mut out, (WIDTH / 2.0, 26.0), "middle", "font-size=\"16\"", &self.title);
        let points = || self.series.iter().flat_map(|series| &series.points);
        let y = Axis::over(self.y_scale, points().map(|(_, y)| *y), (HEIGHT - BOTTOM, TOP));
        let x = match self.shape {
            Shape::Lines => Axis::over_all(self.x_scale, points().map(|(x, _)| *x), (LEFT, WIDTH - RIGHT)),
            Shape::Bars => Axis {
                scale: Scale::Linear,
                low: -0.5,
                high: real_count(self.categories.len()) - 0.5,
                ends: (LEFT, WIDTH - RIGHT),
            },
        };
        self.frame(&mut out, &x, &y);
        for (index, series) in self.series.iter().enumerate() {
            let colour = COLOURS.get(index % COLOURS.len()).copied().unwrap_or("#222");
            match self.shape {
                Shape::Lines => lines(&mut out, series, colour, (&x, &y)),
                Shape::Bars => self.draw_bars(&mut out, (index, series), colour, (&x, &y)),
            }
        }
        self.legend(&mut out);
        line(&mut out, "</svg>");
        out
    }

    fn frame(&self, out: &mut String, x: &Axis, y: &Axis) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in y.ticks() {
            let at = y.place(tick);
            line(out, &format!("<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>"));
            text(out, (LEFT - 8.0, at + 4.0), "end", "", &shown(tick));
        }
        match self.shape {
            Shape::Lines => {
                for tick in x.ticks() {
                    let at = x.place(tick);
                    line(
                        out,
                        &format!(
                            "<line x1=\"{at:.1}\" y1=\"{bottom}\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#222\"/>",
                            bottom + 5.0
                        ),
                    );
                    text(out, (at, bottom + 19.0), "middle", "", &shown(tick));
                }
            }
            Shape::Bars => {
                for (index, name) in self.categories.iter().enumerate() {
                    text(out, (x.place(real_count(index)), bottom + 19.0), "middle", "", name);
                }
            }
        }
        line(out, &format!("<path d=\"M{LEFT} {TOP} V{bottom} H{right}\" fill=\"none\" stroke=\"#222\"/>"));
        let middle = (TOP + bottom) / 2.0;
        let turned = format!("transform=\"rotate(-90 18 {middle})\"");
        text(out, (18.0, middle), "middle", &turned, &self.y_label);
        text(out, ((LEFT + right) / 2.0, bottom + 40.0), "middle", "", &self.x_label);
    }

    fn draw_bars(&self, out: &mut String, (index, series): (usize, &Series), colour: &str, (x, y): (&Axis, &Axis)) {
        let one = (x.place(1.0) - x.place(0.0)) * 0.8 / real_count(self.series.len().max(1));
        let ground = y.place(y.low);
        for (category, value) in &series.points {
            let from = x.place(*category) - one * real_count(self.series.len()) / 2.0 + one * real_count(index);
            let top = y.place(*value);
            line(
                out,
                &format!(
                    "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                    one * 0.94,
                    (ground - top).max(0.0)
                ),
            );
            text(out, (from + one * 0.47, top - 4.0), "middle", "font-size=\"11\"", &shown(*value));
        }
    }

    fn legend(&self, out: &mut String) {
        for (index, (series, (x, y))) in self.series.iter().zip(self.legend_places()).enumerate() {
            let colour = COLOURS.get(index % COLOURS.len()).copied().unwrap_or("#222");
            let top = y - 11.0;
            line(out, &format!("<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"));
            text(out, (x + 18.0, y), "start", "", &series.name);
        }
    }

    /// From left to right under the axis; a new line where there is no more room.
    fn legend_places(&self) -> Vec<(f64, f64)> {
        let (mut x, mut y) = (LEFT, HEIGHT - 30.0);
        let mut places = Vec::new();
        for series in &self.series {
            let wide = 34.0 + 7.4 * real_count(series.name.chars().count());
            if x > LEFT && x + wide > WIDTH - RIGHT {
                (x, y) = (LEFT, y + 18.0);
            }
            places.push((x, y));
            x += wide;
        }
        places
    }
}

impl Axis {
    /// From zero (or the decade below the smallest) to a round number above the largest.
    fn over(scale: Scale, values: impl Iterator<Item = f64>, ends: (f64, f64)) -> Self {
        let all = Self::over_all(scale, values, ends);
        match scale {
            Scale::Linear => {
                let low = all.low.min(0.0);
                let step = round_step((all.high - low) / TICKS);
                Self { low: (low / step).floor() * step, high: (all.high / step).ceil() * step, ..all }
            }
            Scale::Log => Self { low: decade_below(all.low), high: decade_above(all.high), ..all },
        }
    }

    /// From the smallest to the largest.
    fn over_all(scale: Scale, values: impl Iterator<Item = f64>, ends: (f64, f64)) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| scale == Scale::Linear || *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        if high - low < f64::EPSILON * high.abs().max(1.0) {
            (low, high) = if scale == Scale::Log { (low / 2.0, high * 2.0) } else { (low - 0.5, high + 0.5) };
        }
        Self { scale, low, high, ends }
    }

    fn place(&self, value: f64) -> f64 {
        let rank = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log if value > 0.0 => (value / self.low).ln() / (self.high / self.low).ln(),
            Scale::Log => 0.0,
        };
        self.ends.0 + (self.ends.1 - self.ends.0) * rank.clamp(0.0, 1.0)
    }

    /// Round numbers inside.
    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        match self.scale {
            Scale::Linear => {
                let step = round_step((self.high - self.low) / TICKS);
                let first = (self.low / step).ceil() * step;
                // Counted, not added up: sums of tenths would drift.
                let count = whole((self.high - first) / step + 1e-9).min(50);
                ticks.extend((0..=count).map(|at| first + step * super::draw::real(at)));
            }
            Scale::Log => {
                let mut tick = decade_below(self.low);
                let few = (self.high / self.low).log10() < 2.5;
                while tick <= self.high * (1.0 + 1e-9) && ticks.len() < 50 {
                    let factors: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
                    let inside = |value: &f64| (self.low * (1.0 - 1e-9)..=self.high * (1.0 + 1e-9)).contains(value);
                    ticks.extend(factors.iter().map(|factor| tick * factor).filter(inside));
                    tick *= 10.0;
                }
            }
        }
        ticks
    }
}

/// The next of 1, 2, 5, 10, ... that is not below.
fn round_step(step: f64) -> f64 {
    let power = decade_below(step.max(1e-12));
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|one| *one >= step * 0.999_999).unwrap_or(power)
}

/// The power of ten that is not above; what is one but for rounding counts as one.
fn decade_below(value: f64) -> f64 {
    10f64.powf((value.log10() + 1e-9).floor())
}

/// The power of ten that is not below.
fn decade_above(value: f64) -> f64 {
    10f64.powf((value.log10() - 1e-9).ceil())
}

/// A number as it stands at an axis: three digits that count, at most.
fn shown(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.01 => 3,
        _ => 5,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    grouped(text)
}

fn lines(out: &mut String, series: &Series, colour: &str, (x, y): (&Axis, &Axis)) {
    let is_shown = |&&(along, up): &&(f64, f64)| {
        (x.scale == Scale::Linear || along > 0.0) && (y.scale == Scale::Linear || up > 0.0)
    };
    let places: Vec<(f64, f64)> =
        series.points.iter().filter(is_shown).map(|(along, up)| (x.place(*along), y.place(*up))).collect();
    let path: Vec<String> = places.iter().map(|(along, up)| format!("{along:.1},{up:.1}")).collect();
    line(
        out,
        &format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", path.join(" ")),
    );
    // Dots would hide a line of many points.
    if places.len() <= 40 {
        for (along, up) in places {
            line(out, &format!("<circle cx=\"{along:.1}\" cy=\"{up:.1}\" r=\"3\" fill=\"{colour}\"/>"));
        }
    }
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, more: &str, words: &str) {
    line(out, &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{}</text>", escaped(words)));
}

fn line(out: &mut String, words: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{words}");
}

/// As text or attribute of XML; control characters have no place there.
fn escaped(words: &str) -> String {
    let mut out = String::new();
    for c in words.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tags are closed in order, and nothing but numbers stands where numbers must.
    fn assert_well_formed(svg: &str) {
        let mut open: Vec<&str> = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (inside, _) = tag.split_once('>').unwrap_or_else(|| panic!("unclosed: {tag}"));
            assert_eq!(inside.matches('"').count() % 2, 0, "{inside}");
            let name = inside.split([' ', '/']).next().unwrap_or_default();
            match inside.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if inside.ends_with('/') => (),
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.starts_with("<svg "), "{svg}");
        assert!(!svg.contains("<script") && !svg.contains("href"));
    }

    fn some(shape: Shape, x: Scale, y: Scale) -> Chart {
        let categories = vec!["one".into(), "two & three".into()];
        let mut chart = Chart { shape, categories, ..Chart::lines("name", "a <b> \"c\"", "along", "up") }.scaled(x, y);
        chart.add("first", [(0.0, 0.0), (1.0, 7.0)]);
        chart.add("second", [(0.0, 1e6), (1.0, f64::NAN)]);
        chart
    }

    #[test]
    fn every_shape_and_scale_is_well_formed_with_any_points() {
        for shape in [Shape::Lines, Shape::Bars] {
            for x in [Scale::Linear, Scale::Log] {
                for y in [Scale::Linear, Scale::Log] {
                    let mut chart = some(shape, x, y);
                    assert_well_formed(&chart.svg());
                    chart.series.truncate(1);
                    chart.series[0].points.truncate(1);
                    assert_well_formed(&chart.svg());
                    chart.series.clear();
                    assert_well_formed(&chart.svg());
                }
            }
        }
        let svg = some(Shape::Bars, Scale::Linear, Scale::Linear).svg();
        assert!(svg.contains("a &lt;b&gt; &quot;c&quot;") && svg.contains("two &amp; three"), "{svg}");
        assert!(svg.contains(">first<") && svg.contains(">up<"), "{svg}");
    }

    #[test]
    fn a_long_legend_makes_the_picture_higher() {
        let mut chart = some(Shape::Lines, Scale::Linear, Scale::Linear);
        assert!(chart.svg().contains("viewBox=\"0 0 760 430\""));
        (0..12).for_each(|_| chart.add("a name of some length", [(0.5, 1.0)]));
        let (_, lowest) = *chart.legend_places().last().unwrap();
        assert!(lowest > HEIGHT && chart.svg().contains(&format!("viewBox=\"0 0 760 {}\"", lowest + 14.0)));
        assert_well_formed(&chart.svg());
    }

    #[test]
    fn ticks_are_round_numbers_over_the_whole_scale() {
        let ticks = |scale, values: &[f64]| Axis::over(scale, values.iter().copied(), (0.0, 1.0)).ticks();
        assert_eq!(ticks(Scale::Linear, &[0.0, 6.0]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(ticks(Scale::Log, &[10.0, 90_000.0]).len(), 5);
        assert_eq!(ticks(Scale::Linear, &[3.0, 97.0]).last(), Some(&100.0));
        for values in [&[0.1, 0.3][..], &[1e9, 2e9], &[5.0, 5.0], &[]] {
            assert!((3..=12).contains(&ticks(Scale::Linear, values).len()), "{values:?}");
        }
    }

    #[test]
    fn numbers_at_axes_are_short() {
        for (value, text) in
            [(0.0, "0"), (1.0, "1"), (2.5, "2.5"), (1e6, "1,000,000"), (0.125, "0.125"), (12.34, "12.3"), (-3.0, "-3")]
        {
            assert_eq!(shown(value), text);
        }
    }
}
