"""Languages as files, tracks and people name them: `en`, `EN`, `eng`, `en-GB`, `en_US`."""

from __future__ import annotations

import re

# ISO 639-1 with ISO 639-2: the terminological code, then the bibliographic one where it is another.
_CODES = """
    aa:aar ab:abk ae:ave af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul
    bi:bis bm:bam bn:ben bo:bod:tib br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces:cze cu:chu cv:chv
    cy:cym:wel da:dan de:deu:ger dv:div dz:dzo ee:ewe el:ell:gre en:eng eo:epo es:spa et:est eu:eus:baq
    fa:fas:per ff:ful fi:fin fj:fij fo:fao fr:fra:fre fy:fry ga:gle gd:gla gl:glg gn:grn gu:guj gv:glv ha:hau
    he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun hy:hye:arm hz:her ia:ina id:ind ie:ile ig:ibo ii:iii ik:ipk io:ido
    is:isl:ice it:ita iu:iku ja:jpn jv:jav ka:kat:geo kg:kon ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor
    kr:kau ks:kas ku:kur kv:kom kw:cor ky:kir la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav
    mg:mlg mh:mah mi:mri:mao mk:mkd:mac ml:mal mn:mon mr:mar ms:msa:may mt:mlt my:mya:bur na:nau nb:nob nd:nde
    ne:nep ng:ndo nl:nld:dut nn:nno no:nor nr:nbl nv:nav ny:nya oc:oci oj:oji om:orm or:ori os:oss pa:pan pi:pli
    pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron:rum ru:rus rw:kin sa:san sc:srd sd:snd se:sme sg:sag si:sin
    sk:slk:slo sl:slv sm:smo sn:sna so:som sq:sqi:alb sr:srp ss:ssw st:sot su:sun sv:swe sw:swa ta:tam te:tel
    tg:tgk th:tha ti:tir tk:tuk tl:tgl tn:tsn to:ton tr:tur ts:tso tt:tat tw:twi ty:tah ug:uig uk:ukr ur:urd
    uz:uzb ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid yo:yor za:zha zh:zho:chi zu:zul
"""
_TWO_LETTERS = {code: codes[:2] for codes in _CODES.split() for code in codes.split(":")}


def language(tag: str) -> str:
    """The code of a tag's language, the same for all of its spellings and regions; two letters where there are."""
    base = re.split("[-_]", tag.strip().lower())[0]
    return _TWO_LETTERS.get(base, base)


def known(tag: str) -> bool:
    """Whether the language of a tag is one of ISO 639-1, by any of its codes."""
    return language(tag) in _TWO_LETTERS


def fits(tag: str, wanted: str) -> bool:
    """Whether a tag is what is wanted: the very region if a region is, else any."""
    if re.search("[-_]", wanted):
        return tag.lower().replace("_", "-") == wanted.lower().replace("_", "-")
    return language(tag) == language(wanted)


# As Whisper names them, where that is no code.
_NAMES = """
    af:afrikaans am:amharic ar:arabic as:assamese az:azerbaijani ba:bashkir be:belarusian bg:bulgarian bn:bengali
    bo:tibetan br:breton bs:bosnian ca:catalan,valencian cs:czech cy:welsh da:danish de:german el:greek en:english
    es:spanish,castilian et:estonian eu:basque fa:persian,farsi fi:finnish fo:faroese fr:french gl:galician
    gu:gujarati ha:hausa haw:hawaiian he:hebrew hi:hindi hr:croatian ht:haitian,haitian_creole hu:hungarian
    hy:armenian id:indonesian is:icelandic it:italian ja:japanese jv:javanese ka:georgian kk:kazakh km:khmer
    kn:kannada ko:korean la:latin lb:luxembourgish,letzeburgesch ln:lingala lo:lao lt:lithuanian lv:latvian
    mg:malagasy mi:maori mk:macedonian ml:malayalam mn:mongolian mr:marathi ms:malay mt:maltese my:myanmar,burmese
    ne:nepali nl:dutch,flemish nn:nynorsk no:norwegian oc:occitan pa:punjabi,panjabi pl:polish ps:pashto,pushto
    pt:portuguese ro:romanian,moldavian,moldovan ru:russian sa:sanskrit sd:sindhi si:sinhala,sinhalese sk:slovak
    sl:slovenian sn:shona so:somali sq:albanian sr:serbian su:sundanese sv:swedish sw:swahili ta:tamil te:telugu
    tg:tajik th:thai tk:turkmen tl:tagalog tr:turkish tt:tatar uk:ukrainian ur:urdu uz:uzbek vi:vietnamese
    yi:yiddish yo:yoruba yue:cantonese zh:chinese,mandarin
"""
_CODE_OF = {
    name.replace("_", " "): code
    for line in _NAMES.split()
    for code, _, names in [line.partition(":")]
    for name in names.split(",")
}


def named(stated: str) -> str:
    """The tag of a language that may be stated by its English name: "english" is "en", "pt-BR" stays."""
    return _CODE_OF.get(" ".join(stated.lower().split()), stated.strip())
