use super::*;

fn extractor() -> &'static Extractor {
    static SHIPPED: std::sync::OnceLock<Extractor> = std::sync::OnceLock::new();
    SHIPPED.get_or_init(|| Extractor::new(&[]).unwrap())
}

fn ids(title: &str, summary: &str) -> Vec<String> {
    extractor().extract(title, summary).actors.into_iter().map(|actor| actor.id).collect()
}

fn actors(title: &str) -> Vec<String> {
    ids(title, "")
}

fn places(title: &str, summary: &str) -> Vec<String> {
    extractor().extract(title, summary).places
}

fn with(text: &str) -> Result<Extractor, DictionaryError> {
    Extractor::new(&[Source { name: "mine.toml".into(), text: text.into() }])
}

fn refused(text: &str) -> String {
    with(text).unwrap_err().to_string()
}

#[test]
fn states_by_name_demonym_metonym_and_capital() {
    assert_eq!(actors("Russia and Ukraine swap prisoners"), ["RUS", "UKR"]);
    assert_eq!(actors("Iranian and Omani officials confer"), ["IRN", "OMN"]);
    assert_eq!(
        actors("Kremlin cool on White House draft; Élysée and Downing Street object"),
        ["RUS", "USA", "FRA", "GBR"]
    );
    assert_eq!(actors("Beijing rejects Tokyo's protest"), ["CHN", "JPN"]);
    assert_eq!(actors("U.S.-China tariff truce extended"), ["USA", "CHN"]);
}

#[test]
fn people_and_bodies_carry_kind_and_country() {
    let named = extractor().extract("Witkoff briefs Lavrov and the IAEA on Hamas reply", "");
    let found: Vec<(&str, Kind, Option<&str>)> =
        named.actors.iter().map(|actor| (actor.id.as_str(), actor.kind, actor.country.as_deref())).collect();
    assert_eq!(
        found,
        [
            ("steve-witkoff", Kind::Envoy, Some("USA")),
            ("sergey-lavrov", Kind::Minister, Some("RUS")),
            ("iaea", Kind::Body, None),
            ("hamas", Kind::Group, Some("PSE")),
        ]
    );
}

#[test]
fn the_longest_alias_wins_and_words_are_whole() {
    assert_eq!(actors("South Sudan and Guinea-Bissau open embassies"), ["SSD", "GNB"]);
    assert_eq!(actors("Romania, Nigeria and Papua New Guinea vote"), ["ROU", "NGA", "PNG"]);
    assert_eq!(actors("Iranians' hopes"), ["IRN"]);
    assert_eq!(actors("Modish chairs, Omanis not among them"), ["OMN"]);
}

#[test]
fn words_that_mean_something_else() {
    for text in [
        "Michael Jordan sells his shoes at auction",
        "Jordan Henderson signs for another season",
        "Jordan scores 40 as Bulls cruise past Hornets",
        "Georgia governor signs county budget in Atlanta",
        "How to roast a turkey for Thanksgiving",
        "Chad Smith drums again",
        "Paris Hilton opens a bakery",
        "Guinea pigs make good pets",
        "Polish your shoes before the interview",
        "A fire in Lebanon, Pennsylvania, destroys a barn",
        "Washington Post names an editor",
        "Denzel Washington stars again",
        "New Mexico and Latin America in one exhibition",
        "Let us begin with us",
    ] {
        assert_eq!(actors(text), [""; 0], "{text}");
    }
}

#[test]
fn the_same_words_where_they_mean_a_state() {
    assert_eq!(actors("Jordan says it will host truce talks"), ["JOR"]);
    assert_eq!(actors("Georgia's breakaway Abkhazia blocks crossing"), ["GEO", "abkhazia"]);
    assert_eq!(actors("Turkey offers to mediate between Russia and Ukraine"), ["TUR", "RUS", "UKR"]);
    assert_eq!(actors("Chad closes its border with Sudan"), ["TCD", "SDN"]);
    assert_eq!(actors("Polish foreign minister summons Russian ambassador"), ["POL", "RUS"]);
    assert_eq!(actors("Lebanon and Israel map their border"), ["LBN", "ISR"]);
    assert_eq!(actors("Washington sends a reply to Tehran"), ["USA", "IRN"]);
}

#[test]
fn teams_are_no_states_unless_affairs_are_spoken_of() {
    assert_eq!(actors("Qatar coach drops goalkeeper before qualifier against Oman"), [""; 0]);
    assert_eq!(actors("Iran asks FIFA to move World Cup matches after sanctions"), ["IRN"]);
}

#[test]
fn capitals_in_headlines_and_texts_without_any() {
    assert_eq!(actors("RUSSIA AND UKRAINE AGREE TO SWAP PRISONERS"), ["RUS", "UKR"]);
    assert_eq!(actors("RUSSIA INVITES US ENVOY BACK"), ["RUS", "USA", "USA-envoy"]);
    assert_eq!(actors("russia and ukraine agree to swap prisoners"), ["RUS", "UKR"]);
    assert_eq!(actors("THEY TOLD US THE TRUTH"), [""; 0]);
}

#[test]
fn a_city_is_a_place_or_a_government() {
    assert_eq!((actors("Talks in Geneva end"), places("Talks in Geneva end", "")), (vec![], vec!["Geneva".into()]));
    assert_eq!(actors("Envoys meet in Moscow"), [""; 0]);
    assert_eq!(places("Envoys meet in Moscow", ""), ["Moscow"]);
    assert_eq!(actors("Moscow says no"), ["RUS"]);
    assert_eq!(places("Moscow says no", ""), [""; 0]);
    assert_eq!(actors("Tehran-Washington channel reopens"), ["IRN", "USA"]);
    assert_eq!(actors("A new gallery opens in London"), [""; 0]);
    assert_eq!(actors("London rejects Moscow's claim"), ["GBR", "RUS"]);
    assert_eq!(places("Minister flies to Beijing", ""), ["Beijing"]);
    assert_eq!(ids("Shelling resumes", "KYIV (Agency) - Shells fell."), [""; 0]);
    assert_eq!(places("Fighting goes on in Sudan", ""), ["Sudan"]);
}

#[test]
fn an_office_is_an_actor_unless_its_holder_is_named() {
    let named = extractor().extract("US special envoy meets Russian delegation", "");
    let names: Vec<&str> = named.actors.iter().map(|actor| actor.name.as_str()).collect();
    assert_eq!(names, ["United States", "Russia", "US envoy", "Russian delegation"]);
    assert_eq!(actors("US envoy Steve Witkoff lands"), ["USA", "steve-witkoff"]);
    assert_eq!(actors("The Kremlin's foreign policy aide is upbeat"), ["RUS", "RUS-envoy"]);
    assert_eq!(actors("UN envoy warns of famine"), ["un", "un-envoy"]);
    assert_eq!(actors("L'émissaire américain quitte la table"), ["USA", "USA-envoy"]);
}

#[test]
fn a_group_named_by_its_state_names_both() {
    assert_eq!(actors("Sudan's army and RSF agree to meet"), ["saf", "SDN", "rsf"]);
}

#[test]
fn other_scripts_and_inflected_words() {
    assert_eq!(actors("Переговоры России и Украины прошли в Стамбуле"), ["RUS", "UKR"]);
    assert_eq!(places("Переговоры России и Украины прошли в Стамбуле", ""), ["Istanbul"]);
    assert_eq!(actors("المبعوث الأمريكي يلتقي الوفد الروسي"), ["USA", "RUS", "USA-envoy", "RUS-delegation"]);
    assert_eq!(actors("محادثات بين إيران والولايات المتحدة"), ["IRN", "USA"]);
    assert_eq!(actors("王毅与拉夫罗夫讨论乌克兰问题"), ["wang-yi", "sergey-lavrov", "UKR"]);
    assert_eq!(actors("Die russische Delegation reist ab"), ["RUS", "RUS-delegation"]);
}

#[test]
fn empty_and_huge_texts_are_read_in_bounds() {
    assert_eq!(extractor().extract("", ""), Named::default());
    let long = "word ".repeat(20_000) + "Russia";
    assert_eq!(ids("Iran answers", &long), ["IRN"]);
    assert_eq!(ids(&long, &long), [""; 0]);
}

#[test]
fn spans_are_the_words_that_matched() {
    let title = "Iranian envoy in Muscat";
    let named = extractor().extract(title, "");
    let words: Vec<&str> = named.spans.iter().map(|span| &title[span.clone()]).collect();
    assert_eq!(words, ["Iranian", "Muscat"]);
}

#[test]
fn a_users_file_adds_aliases_actors_places_and_phrases_to_ignore() {
    let mine = with(
        "ignore = [\"Moscow House\"]\n[[actor]]\nid = \"RUS\"\naliases = [\"the Bear\"]\n[[actor]]\nid = \"lake-league\"\n\
         name = \"Lake League\"\nkind = \"body\"\naliases = [\"Lake League\"]\n[[place]]\nname = \"Lakeside\"\ncountry = \"CHE\"\n\
         aliases = [\"Lakeside\"]\n",
    )
    .unwrap();
    let named = mine.extract("Lake League and the Bear confer in Lakeside, not at Moscow House", "");
    let found: Vec<&str> = named.actors.iter().map(|actor| actor.id.as_str()).collect();
    assert_eq!(found, ["lake-league", "RUS"]);
    assert_eq!(named.places, ["Lakeside"]);
}

#[test]
fn a_typo_in_an_id_is_refused_with_file_line_and_the_likely_one() {
    let message = refused("\n[[actor]]\nid = \"RUZ\"\naliases = [\"the Bear\"]\n");
    assert!(message.contains("mine.toml:3: no actor has the id `RUZ`; did you mean `RUS`?"), "{message}");
    let message = refused("[[actor]]\nid = \"UKX\"\nname = \"Ukraine\"\nkind = \"state\"\naliases = [\"Ukrayina\"]\n");
    assert!(message.contains("mine.toml:2: `UKX` is no ISO 3166-1 alpha-3 code"), "{message}");
    let message = refused(
        "[[actor]]\nid = \"jo\"\nname = \"Jo\"\nkind = \"envoy\"\ncountry = \"NORR\"\naliases = [\"Jo Dal\"]\n",
    );
    assert!(message.contains("mine.toml:5: no state has the code `NORR`; did you mean `NOR`?"), "{message}");
}

#[test]
fn one_alias_of_two_actors_is_refused_with_both_places() {
    let message = refused("[[actor]]\nid = \"UKR\"\naliases = [\n  \"the Bear\",\n  \"Kremlin\",\n]\n");
    assert!(
        message.contains("mine.toml:5: the alias \"Kremlin\" of UKR is also one of RUS (config/actors/states.toml:"),
        "{message}"
    );
}

#[test]
fn every_problem_is_reported_at_once_and_broken_toml_by_line() {
    let message =
        refused("[[actor]]\nid = \"RUZ\"\n[[actor]]\nid = \"CHM\"\n[[guard]]\naliases = [\"Nobody Known\"]\n");
    assert_eq!(message.matches("mine.toml:").count(), 3, "{message}");
    assert!(refused("[[actor]]\nid = \n").contains("mine.toml:2"));
    assert!(refused("[[actor]]\nid = \"RUS\"\nalias = [\"x\"]\n").contains("mine.toml:"));
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_it(title in ".{0,80}", summary in ".{0,200}") {
        let text = read(&title, &summary);
        let named = extractor().extract(&title, &summary);
        proptest::prop_assert!(named.spans.iter().all(|span| text.get(span.clone()).is_some()));
    }

    #[test]
    fn aliases_in_any_surroundings_break_nothing(words in proptest::collection::vec("(US|Moscow|in|to|and|-|the|Jordan|envoy|of|'s|É|\\(|Росси|الوفد|特使|\n| ){1,3}", 0..12)) {
        let text = words.join(" ");
        extractor().extract(&text, &text);
    }
}
