//! What the elements of all feed dialects mean to us: one role for each name, whatever the namespace is spelled like.

/// Namespaces that matter. All feed dialects are one, since their names mean the same and real documents mix them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ns {
    /// RSS of any version, Atom of any version, CDF, or none.
    #[default]
    Feed,
    /// Dublin Core elements.
    Dc,
    /// Dublin Core terms.
    DcTerms,
    /// RSS 1.0 content module.
    Content,
    /// Media RSS.
    Media,
    /// Apple's podcast tags.
    Itunes,
    /// RSS 1.0 syndication module.
    Sy,
    /// XHTML.
    Xhtml,
    /// RDF syntax.
    Rdf,
    /// Feed paging and archiving (RFC 5005).
    History,
    /// Any other.
    Other,
}

impl Ns {
    /// The namespace that a URI names; case, `https`, and a slash or hash at the end make no difference.
    pub fn of_uri(uri: &str) -> Option<Self> {
        let uri = uri.trim().to_ascii_lowercase();
        let uri = uri.trim_start_matches("https://").trim_start_matches("http://").trim_start_matches("www.");
        Some(match uri.trim_end_matches(['/', '#']) {
            "w3.org/2005/atom" | "purl.org/atom/ns" | "purl.org/pie" | "purl.org/echo" | "example.com/necho" => {
                Self::Feed
            }
            "example.com/newformat" | "uri/of/echo/namespace" | "purl.org/atom" | "purl.org/net/rss1.1" => Self::Feed,
            "purl.org/rss/1.0" | "purl.org/rss/1.0/modules/rss091" | "purl.org/rss/2.0" => Self::Feed,
            "my.netscape.com/rdf/simple/0.9" | "channel.netscape.com/rdf/simple/0.9" => Self::Feed,
            "my.netscape.com/publish/formats/rss-0.91.dtd" | "blogs.law.harvard.edu/tech/rss" => Self::Feed,
            "cyber.law.harvard.edu/rss" | "cyber.law.harvard.edu/rss/rss.html" | "rssboard.org/rss-specification" => {
                Self::Feed
            }
            "purl.org/dc/elements/1.1" | "purl.org/dc/elements/1.0" | "purl.org/metadata/dublin_core" => Self::Dc,
            "purl.org/dc/terms" => Self::DcTerms,
            "purl.org/rss/1.0/modules/content" => Self::Content,
            "search.yahoo.com/mrss" | "video.search.yahoo.com/mrss" | "search.yahoo.com/searchmonkey/media" => {
                Self::Media
            }
            "itunes.com/dtds/podcast-1.0.dtd" | "example.com/dtds/podcast-1.0.dtd" => Self::Itunes,
            "purl.org/rss/1.0/modules/syndication" => Self::Sy,
            "w3.org/1999/xhtml" => Self::Xhtml,
            "w3.org/1999/02/22-rdf-syntax-ns" => Self::Rdf,
            "purl.org/syndication/history/1.0" => Self::History,
            other if other.contains("backend.userland.com/rss") => Self::Feed,
            _ => return None,
        })
    }

    /// The namespace that a prefix stands for by custom, for documents that forget to declare it or misspell its URI.
    pub fn of_prefix(prefix: &str) -> Self {
        match prefix {
            "atom" | "atom03" | "atom10" | "a10" | "rss" | "feed" => Self::Feed,
            "dc" => Self::Dc,
            "dcterms" | "dct" => Self::DcTerms,
            "content" => Self::Content,
            "media" => Self::Media,
            "itunes" => Self::Itunes,
            "sy" | "syn" => Self::Sy,
            "xhtml" => Self::Xhtml,
            "rdf" => Self::Rdf,
            "fh" => Self::History,
            _ => Self::Other,
        }
    }
}

/// What an element is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    // structure
    Rss,
    Rdf,
    Feed,
    Channel,
    Item,
    /// A part with fields of its own that are not the entry's or the feed's: image, text input, source, contributor.
    Aside,
    // fields with text or markup
    Title,
    MediaTitle,
    Summary,
    /// A summary that gives way to a real one.
    MinorSummary,
    Content,
    // fields with plain text
    Link,
    Guid,
    Published,
    /// Dates that stand in where all others are missing.
    Created,
    Updated,
    Author,
    Creator,
    Category,
    Language,
    Ttl,
    SkipHour,
    SkipDay,
    SyPeriod,
    SyFrequency,
    SyBase,
    // parts of a person
    Name,
    Email,
    // elements whose attributes say all
    Enclosure,
    /// Anything else.
    Other,
}

impl Role {
    /// Which role the element `local` of `ns` has. `local` is in lower case.
    pub fn of(ns: Ns, local: &str) -> Self {
        match ns {
            Ns::Feed => Self::of_feed(local),
            Ns::Dc => Self::of_dublin_core(local),
            Ns::DcTerms => match local {
                "issued" | "available" => Self::Published,
                "modified" => Self::Updated,
                "created" => Self::Created,
                _ => Self::of_dublin_core(local),
            },
            Ns::Content if local == "encoded" => Self::Content,
            Ns::Media => match local {
                "title" => Self::MediaTitle,
                "description" => Self::MinorSummary,
                "category" => Self::Category,
                "content" => Self::Enclosure,
                _ => Self::Other,
            },
            Ns::Itunes => match local {
                "author" => Self::Creator,
                "title" => Self::MediaTitle,
                "summary" | "subtitle" => Self::MinorSummary,
                "owner" => Self::Aside,
                _ => Self::Other,
            },
            Ns::Sy => match local {
                "updateperiod" => Self::SyPeriod,
                "updatefrequency" => Self::SyFrequency,
                "updatebase" => Self::SyBase,
                _ => Self::Other,
            },
            Ns::Rdf if local == "rdf" => Self::Rdf,
            Ns::Xhtml if local == "body" => Self::Content,
            _ => Self::Other,
        }
    }

    fn of_feed(local: &str) -> Self {
        match local {
            "rss" => Self::Rss,
            "rdf" => Self::Rdf,
            "feed" => Self::Feed,
            "channel" => Self::Channel,
            "item" | "entry" => Self::Item,
            "image" | "textinput" | "source" | "contributor" => Self::Aside,
            "title" => Self::Title,
            "description" | "summary" | "abstract" => Self::Summary,
            "content" | "fullitem" | "body" => Self::Content,
            "link" => Self::Link,
            "guid" | "id" => Self::Guid,
            "pubdate" | "published" | "issued" => Self::Published,
            "created" | "date" => Self::Created,
            "updated" | "modified" | "lastbuilddate" => Self::Updated,
            "author" | "managingeditor" => Self::Author,
            "name" => Self::Name,
            "email" => Self::Email,
            "category" | "keywords" => Self::Category,
            "language" => Self::Language,
            "ttl" => Self::Ttl,
            "hour" => Self::SkipHour,
            "day" => Self::SkipDay,
            "enclosure" => Self::Enclosure,
            _ => Self::Other,
        }
    }

    fn of_dublin_core(local: &str) -> Self {
        match local {
            "title" => Self::Title,
            "description" => Self::Summary,
            "date" => Self::Updated,
            "creator" | "author" => Self::Creator,
            "subject" => Self::Category,
            "language" => Self::Language,
            _ => Self::Other,
        }
    }

    /// Opens a part of the document that no field can contain.
    pub fn is_structure(self) -> bool {
        matches!(self, Self::Rss | Self::Rdf | Self::Feed | Self::Channel | Self::Item)
    }

    /// Cannot stand inside an image or a short field: where it does, that element was left open.
    pub fn ends_short_field(self) -> bool {
        self.is_structure()
            || matches!(self, Self::Published | Self::Updated | Self::Guid | Self::Language | Self::Ttl | Self::Author)
    }

    /// Cannot stand inside a title: where it does, the title was left open.
    pub fn ends_title(self) -> bool {
        self.ends_short_field() || matches!(self, Self::Link | Self::Summary | Self::Category | Self::Creator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_a_namespace_are_one() {
        for uri in ["http://www.w3.org/2005/Atom", "https://www.w3.org/2005/atom/", "http://purl.org/atom/ns#"] {
            assert_eq!(Ns::of_uri(uri), Some(Ns::Feed), "{uri}");
        }
        assert_eq!(Ns::of_uri("https://purl.org/dc/elements/1.1"), Some(Ns::Dc));
        assert_eq!(Ns::of_uri("urn:else"), None);
    }

    #[test]
    fn dialects_share_their_roles() {
        assert_eq!(Role::of(Ns::Feed, "pubdate"), Role::of(Ns::DcTerms, "issued"));
        assert_eq!(Role::of(Ns::Feed, "item"), Role::of(Ns::Feed, "entry"));
        assert_eq!(Role::of(Ns::Other, "title"), Role::Other);
    }
}
