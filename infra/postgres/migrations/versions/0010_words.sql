-- Conversations are found whatever the script, and without accents. The default parser takes a run of a script that is
-- written without spaces for one word; here it is cut into pairs of letters, and a question's run into a phrase of
-- pairs (infra/postgres/conversations.py). Hangul too: particles stand at its words. No extension is needed: who may
-- create one, and whether it is there, differs from server to server.

-- Accents gone (combining signs of Latin, Greek, Cyrillic, Hebrew, Arabic; elsewhere they are vowels), one spelling of
-- what looks alike, small letters, no punctuation that the parser of some locales takes for letters.
create function search_folded(text) returns text language sql immutable strict parallel safe as $$
    select lower(replace(replace(replace(translate(
        regexp_replace(
            normalize(
                regexp_replace(normalize($1, nfkd), '[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]', '', 'g'), nfkc),
            '[\u00a1-\u00bf\u2000-\u206f\u3000-\u303f]', ' ', 'g'),
        'øØđĐłŁħĦı', 'oOdDlLhHi'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'))
$$;

-- Thai, Lao, Burmese, Khmer, Kana, Han, Hangul: the letters that are paired, as a class of a regular expression.
create function search_letters() returns text language sql immutable parallel safe as $$
    select '\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3'
$$;

-- `ABCDx` becomes `A AB BC CD D x`, where A to D are such letters.
create function search_paired(text) returns text language sql immutable strict parallel safe as $$
    select regexp_replace(regexp_replace(regexp_replace($1,
        '([^\s' || search_letters() || '])([' || search_letters() || '])', '\1 \2', 'g'),
        '([' || search_letters() || '])([^\s' || search_letters() || '])', '\1 \2', 'g'),
        '([' || search_letters() || '])', '\1 \1', 'g')
$$;

-- Words and pairs as they stand and stemmed as English, and the single letters. A tsvector holds 1 MB: hence the bounds,
-- the smaller ones for what the pairs add.
create function search_words(text) returns tsvector language sql immutable strict parallel safe as $$
    select case when folded ~ ('[' || search_letters() || ']')
        then to_tsvector('simple', left(search_paired(folded), 40000))
            || to_tsvector('english', left(search_paired(folded), 40000))
            || to_tsvector('simple', regexp_replace(left(folded, 10000), '([' || search_letters() || '])', ' \1 ', 'g'))
        else to_tsvector('simple', folded) || to_tsvector('english', folded) end
    from (select search_folded(left($1, 32000)) as folded) as text
$$;

alter table conversations drop column words;
alter table conversations add column words tsvector not null
    generated always as (search_words(coalesce(name, title))) stored;
create index conversations_by_word on conversations using gin (words);

alter table interactions drop column words;
alter table interactions add column words tsvector not null
    generated always as (search_words(question) || search_words(answer)) stored;
create index interactions_by_word on interactions using gin (words);
