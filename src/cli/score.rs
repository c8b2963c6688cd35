//! `demarche score`: a text, its grades, its stage, its reasons, whom and what it names.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::alerts::print::plain;
use super::exit::UsageError;
use super::flow::{block_on, rule};
use super::paint::paint;
use super::setup::{extractor, setup};
use super::{Common, Exit, table};
use crate::actors::{Actor, Named};
use crate::classify::{Scored, Text, Worker};
use crate::item::{GradeProbs, Reason, StageGuess, Verdict};
use crate::pipeline::AlertRule;

/// Arguments of `score`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    demarche score \"Envoys call backchannel talks constructive\"\n  \
    demarche score --file headlines.txt --json | jq .score")]
pub struct ScoreArgs {
    /// Texts to score: headlines, or headline and summary separated by a tab. Without any, standard input is read.
    text: Vec<String>,
    /// Score every line of this file (`-` is standard input).
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// One JSON object a line. Reasons are looked for where the text makes an alert: they cost several times the score.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    score: f32,
    alert: bool,
    grade: GradeProbs,
    stage: StageGuess,
    reasons: &'a [Reason],
    actors: &'a [Actor],
    places: &'a [String],
    model: &'a str,
    threshold: f32,
}

pub(super) fn run(common: &Common, args: ScoreArgs) -> anyhow::Result<Exit> {
    let setup = setup(common)?;
    let lines = lines(&args)?;
    let actors = extractor(&setup.loaded)?;
    block_on(async {
        let scorer = Worker::from_config(&setup.config().model).await?;
        let rule = rule(&setup.config().model, &scorer);
        if !args.json {
            writeln!(std::io::stdout(), "score  alert  stage     text")?;
        }
        // Chunks keep memory flat when a file is long.
        for chunk in lines.chunks(crate::pipeline::capacity::JUDGE_BATCH) {
            let texts: Vec<Text> = chunk.iter().map(|line| text(line)).collect();
            let mut verdicts = scorer.score(texts.clone()).await?;
            explain(&mut verdicts, &texts, &rule, &scorer).await?;
            for ((line, text), verdict) in chunk.iter().zip(texts).zip(verdicts) {
                let named = actors.extract(&text.title, &text.summary);
                if args.json {
                    print_json(line, &verdict, &named, (&rule, &scorer.model().id))?;
                } else {
                    print(&text, &verdict, &named, &rule)?;
                }
            }
        }
        Ok(Exit::Ok)
    })
}

/// Gives the alerts among `verdicts` their reasons.
async fn explain(verdicts: &mut [Verdict], texts: &[Text], rule: &AlertRule, scorer: &Worker) -> anyhow::Result<()> {
    let (alerts, scored): (Vec<&mut Verdict>, Vec<Scored>) = verdicts
        .iter_mut()
        .zip(texts)
        .filter(|(verdict, _)| rule.is_met_by(verdict))
        .map(|(verdict, text)| {
            let score = verdict.score();
            (verdict, Scored { text: text.clone(), score })
        })
        .unzip();
    for (verdict, reasons) in alerts.into_iter().zip(scorer.explain(scored).await?) {
        verdict.reasons = reasons;
    }
    Ok(())
}

fn lines(args: &ScoreArgs) -> anyhow::Result<Vec<String>> {
    if !args.text.is_empty() {
        return Ok(args.text.clone());
    }
    let reader: Box<dyn BufRead> = match args.file.as_deref() {
        Some(path) if path.as_os_str() != "-" => {
            let file =
                std::fs::File::open(path).map_err(|error| UsageError(format!("read {}: {error}", path.display())))?;
            Box::new(std::io::BufReader::new(file))
        }
        _ if args.file.is_none() && std::io::stdin().is_terminal() => {
            return Err(
                UsageError("find a text: give one as an argument, with --file, or on standard input".into()).into()
            );
        }
        _ => Box::new(std::io::stdin().lock()),
    };
    let lines = reader.split(b'\n').map(|line| line.map(|line| String::from_utf8_lossy(&line).trim().to_owned()));
    let lines = lines.collect::<Result<Vec<_>, _>>().context("read the texts")?;
    Ok(lines.into_iter().filter(|line| !line.is_empty()).collect())
}

fn text(line: &str) -> Text {
    let (title, summary) = line.split_once('\t').unwrap_or((line, ""));
    // What is scored is shown; feeds lose characters that control when they are parsed.
    Text::new(plain(title), plain(summary))
}

fn print_json(line: &str, verdict: &Verdict, named: &Named, (rule, model): (&AlertRule, &str)) -> anyhow::Result<()> {
    let scored = Line {
        text: line,
        score: verdict.score(),
        alert: rule.is_met_by(verdict),
        grade: verdict.grade,
        stage: verdict.stage,
        reasons: &verdict.reasons,
        actors: &named.actors,
        places: &named.places,
        model,
        threshold: rule.threshold,
    };
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&scored)?)?)
}

fn print(text: &Text, verdict: &Verdict, named: &Named, rule: &AlertRule) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let alert = rule.is_met_by(verdict);
    let stage = table::word(&verdict.stage.label);
    let mark = if alert { "yes" } else { "" };
    let reasons = &verdict.reasons;
    writeln!(out, "{:>5.3}  {mark:<5}  {stage:<8}  {}", verdict.score(), paint(text, reasons, &named.spans))?;
    for reason in reasons {
        writeln!(out, "{:24}{:+.2}  {}", "", reason.weight, reason.text)?;
    }
    let actors: Vec<String> = named.actors.iter().map(|actor| format!("{} ({})", actor.name, actor.id)).collect();
    for (what, names) in [("actors", &actors), ("places", &named.places)] {
        if !names.is_empty() {
            writeln!(out, "{:24}{what}: {}", "", names.join(", "))?;
        }
    }
    Ok(())
}
