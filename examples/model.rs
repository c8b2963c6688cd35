use clap::{Parser, Subcommand};
use demarche::classify::ClassifyConfig;
#[derive(Parser)]
struct Cli {
    #[arg(long, default_value_t = 0)]
    threads: usize,
    #[arg(long)]
    dir: Option<std::path::PathBuf>,
    #[arg(long, default_value = "auto")]
    scorer: String,
    #[command(subcommand)]
    c: C,
}
#[derive(Subcommand)]
enum C {
    Train(demarche::train::TrainArgs),
    Eval(demarche::eval::EvalArgs),
    Score {
        file: std::path::PathBuf,
        #[arg(long)]
        explain: bool,
    },
}
#[derive(serde::Deserialize)]
struct S {
    model: ClassifyConfig,
}
#[derive(serde::Deserialize)]
struct T {
    #[serde(default)]
    id: String,
    title: String,
    #[serde(default)]
    summary: String,
}
fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let s: S = toml::from_str(demarche::config::DEFAULTS)?;
    let mut config = s.model;
    config.threads = cli.threads;
    config.dir = cli.dir.unwrap_or_default();
    config.scorer = serde_json::from_str(&format!("{:?}", cli.scorer))?;
    match cli.c {
        C::Train(a) => demarche::train::run(&a, &config)?,
        C::Eval(a) => demarche::eval::run(&a, &config, &mut std::io::stdout())?,
        C::Score { file, explain } => {
            let items: Vec<T> =
                std::fs::read_to_string(file)?.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
            let texts: Vec<_> = items.iter().map(|t| demarche::classify::Text::new(&t.title, &t.summary)).collect();
            config.cache_items = 0;
            let mut scorer = demarche::classify::build(&config)?;
            let t = std::time::Instant::now();
            let mut out = std::io::BufWriter::new(std::io::stdout());
            use std::io::Write;
            for (chunk, its) in texts.chunks(512).zip(items.chunks(512)) {
                for (v, it) in scorer.score(chunk)?.iter().zip(its) {
                    writeln!(
                        out,
                        "{}",
                        serde_json::json!({"id": it.id, "p": [v.grade.neither, v.grade.diplomacy, v.grade.negotiation], "stage": v.stage, "title": it.title})
                    )?;
                }
            }
            eprintln!("{} items/s", texts.len() as f64 / t.elapsed().as_secs_f64());
            if explain {
                for t in &texts {
                    eprintln!("{} {:?}", t.title, scorer.explain(t)?);
                }
            }
        }
    }
    Ok(())
}
