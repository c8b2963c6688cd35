//! Names that dates are written with: months, zones, halves of the day.

/// The month (1–12) that a lower-case word names, by its beginning, in the main languages feeds are written in.
/// Longer beginnings stand before shorter ones that they contain.
pub(super) fn month(word: &str) -> Option<u32> {
    // What nearly every feed writes, without a look at the other languages.
    if let Some(month) = ENGLISH.iter().position(|name| *name == word) {
        return u32::try_from(month + 1).ok();
    }
    if word.len() < 3 || WEEKDAYS.contains(&word) {
        return None;
    }
    let found = MONTHS.iter().find(|(_, starts)| starts.iter().any(|start| word.starts_with(start)));
    found.map(|(month, _)| *month)
}

const ENGLISH: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// English day names, which need not be looked for among the months, and full day names that begin like a month.
const WEEKDAYS: &[&str] = &[
    "mon",
    "tue",
    "wed",
    "thu",
    "fri",
    "sat",
    "sun",
    "mardi",
    "martes",
    "martedì",
    "martedi",
    "marți",
    "marti",
    "maandag",
    "mandag",
    "maanantai",
];

const MONTHS: &[(u32, &[&str])] = &[
    // July before June: červenec and červen, juillet and juin
    (
        7,
        &[
            "jul",
            "juil",
            "lug",
            "červenec",
            "července",
            "lip",
            "tem",
            "июл",
            "лип",
            "юли",
            "júl",
            "ιούλ",
            "ιουλ",
            "ιολ",
        ],
    ),
    (7, &["يوليو", "تموز", "جويلية", "יולי", "जुलाई", "ژوئیه", "heinä", "lie"]),
    (
        1,
        &[
            "jan",
            "ene",
            "gen",
            "sty",
            "led",
            "oca",
            "янв",
            "січ",
            "яну",
            "ιαν",
            "يناير",
            "جانفي",
            "كانون الثاني",
            "ינואר",
        ],
    ),
    (1, &["जनवरी", "ژانویه", "tammi", "sau", "siječ"]),
    (2, &["feb", "fév", "fev", "lut", "úno", "şub", "sub", "фев", "лют", "φεβ", "فبراير", "شباط", "فيفري", "פברואר"]),
    (2, &["फरवरी", "फ़रवरी", "فوریه", "helmi", "vas", "velj"]),
    (3, &["mar", "mär", "mrz", "maa", "már", "bře", "мар", "бер", "μάρ", "μαρ", "μάώ", "μαώ", "مارس", "آذار", "מרץ"]),
    (3, &["मार्च", "mrt", "ožu", "kov"]),
    (4, &["apr", "avr", "abr", "kwi", "dub", "nis", "апр", "кві", "απρ", "أبريل", "ابريل", "إبريل", "نيسان", "أفريل"]),
    (4, &["אפריל", "अप्रैल", "آوریل", "ápr", "huhti", "tra", "bal"]),
    (5, &["may", "mai", "maj", "mag", "mei", "máj", "mái", "kvě", "май", "мая", "трав", "μάι", "μαϊ", "μαι", "μάϊ"]),
    (5, &["مايو", "أيار", "ماي", "מאי", "मई", "مه", "touko", "svi", "geg"]),
    (
        6,
        &[
            "jun",
            "juin",
            "giu",
            "cze",
            "čer",
            "haz",
            "июн",
            "чер",
            "юни",
            "jún",
            "ιούν",
            "ιουν",
            "ιον",
            "يونيو",
            "حزيران",
        ],
    ),
    (6, &["جوان", "יוני", "जून", "ژوئن", "kesä", "birž"]),
    (8, &["aug", "aoû", "aou", "ago", "avg", "sie", "srp", "ağu", "agu", "авг", "сер", "αύγ", "αυγ", "أغسطس", "اغسطس"]),
    (8, &["آب", "أوت", "אוגוסט", "अगस्त", "اوت", "elo", "kol", "rugp", "avq"]),
    (9, &["sep", "set", "sze", "wrz", "zář", "eyl", "сен", "вер", "сеп", "σεπ", "سبتمبر", "أيلول", "ספטמבר", "सितंबर"]),
    (9, &["सितम्बर", "سپتامبر", "syys", "ruj", "rugs"]),
    (
        10,
        &[
            "oct",
            "okt",
            "out",
            "ott",
            "paź",
            "paz",
            "říj",
            "eki",
            "окт",
            "жов",
            "οκτ",
            "أكتوبر",
            "اكتوبر",
            "تشرين الأول",
        ],
    ),
    (10, &["אוקטובר", "अक्टूबर", "اکتبر", "loka", "spa"]),
    (
        11,
        &["nov", "lis", "kas", "ноя", "лис", "ное", "νοέ", "νοε", "نوفمبر", "تشرين الثاني", "נובמבר", "नवंबर", "نوامبر"],
    ),
    (11, &["marras", "stu", "lap"]),
    (12, &["dec", "déc", "dez", "dic", "des", "dek", "gru", "pro", "ara", "дек", "гру", "δεκ", "ديسمبر", "كانون الأول"]),
    (12, &["דצמבר", "दिसंबर", "دسامبر", "joulu", "gruo"]),
];

/// Offset from UTC, in minutes, of a zone's lower-case name. Names with several meanings take the one feeds use:
/// BST is British, IST is Indian, CST and EST are American.
pub(super) fn zone(name: &str) -> Option<i32> {
    let found = ZONES.iter().find(|(_, names)| names.contains(&name));
    found.map(|(offset, _)| *offset)
}

const ZONES: &[(i32, &[&str])] = &[
    (0, &["z", "ut", "utc", "gmt", "wet", "uct", "zulu"]),
    (60, &["bst", "cet", "met", "mez", "west", "wat", "n"]),
    (120, &["cest", "mest", "mesz", "eet", "sast", "cat"]),
    (180, &["eest", "msk", "eat", "trt", "idt"]),
    (210, &["irst"]),
    (240, &["gst", "msd", "samt", "azt", "get"]),
    (270, &["aft", "irdt"]),
    (300, &["pkt", "uzt", "yekt"]),
    (330, &["ist"]),
    (345, &["npt"]),
    (360, &["bdt", "almt", "omst"]),
    (420, &["ict", "wib", "krat"]),
    (480, &["hkt", "sgt", "myt", "pht", "awst", "wita", "irkt"]),
    (540, &["jst", "kst", "wit", "yakt"]),
    (570, &["acst"]),
    (600, &["aest", "vlat", "chst"]),
    (630, &["acdt"]),
    (660, &["aedt", "magt"]),
    (720, &["nzst", "y", "pett"]),
    (780, &["nzdt"]),
    (-60, &["a", "cvt", "egt"]),
    (-120, &["fnt"]),
    (-150, &["ndt"]),
    (-180, &["adt", "brt", "art", "uyt", "clst"]),
    (-210, &["nst"]),
    (-240, &["ast", "at", "edt", "clt", "vet", "bot"]),
    (-300, &["est", "et", "cdt", "pet", "cot", "ect"]),
    (-360, &["cst", "ct", "mdt"]),
    (-420, &["mst", "mt", "pdt"]),
    (-480, &["pst", "pt", "akdt"]),
    (-540, &["akst"]),
    (-600, &["hst", "hast"]),
    (-720, &["m"]),
];

/// `Some(true)` for a word that says "afternoon", `Some(false)` for "before noon".
pub(super) fn afternoon(word: &str) -> Option<bool> {
    match word {
        "pm" | "p.m" | "p.m." | "오후" | "下午" | "午後" | "μμ" | "μ.μ." | "م" => Some(true),
        "am" | "a.m" | "a.m." | "오전" | "上午" | "午前" | "πμ" | "π.μ." | "ص" => Some(false),
        _ => None,
    }
}
