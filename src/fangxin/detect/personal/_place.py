"""Postal addresses and licence plates."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fangxin.detect.personal._finding import Finding, before

_I = re.IGNORECASE

_PROVINCE = (
    "(?:北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南"
    "|陕西|甘肃|青海|台湾|臺灣|内蒙古|广西|西藏|宁夏|新疆|香港|澳门)(?:省|市|(?:壮族|回族|维吾尔)?自治区|特别行政区)?"
)
# Cities at and above the level of a prefecture, without the last character.
_CITY = (
    "(?:石家庄|唐山|秦皇岛|邯郸|邢台|保定|张家口|承德|沧州|廊坊|衡水|太原|大同|阳泉|长治|晋城|朔州|晋中|运城|忻州|临汾|吕梁"
    "|呼和浩特|包头|乌海|赤峰|通辽|鄂尔多斯|呼伦贝尔|巴彦淖尔|乌兰察布|沈阳|大连|鞍山|抚顺|本溪|丹东|锦州|营口|阜新|辽阳"
    "|盘锦|铁岭|朝阳|葫芦岛|长春|吉林|四平|辽源|通化|白山|松原|白城|哈尔滨|齐齐哈尔|鸡西|鹤岗|双鸭山|大庆|伊春|佳木斯"
    "|七台河|牡丹江|黑河|绥化|南京|无锡|徐州|常州|苏州|南通|连云港|淮安|盐城|扬州|镇江|泰州|宿迁|杭州|宁波|温州|嘉兴|湖州"
    "|绍兴|金华|衢州|舟山|台州|丽水|义乌|昆山|合肥|芜湖|蚌埠|淮南|马鞍山|淮北|铜陵|安庆|黄山|滁州|阜阳|宿州|六安|亳州|池州"
    "|宣城|福州|厦门|莆田|三明|泉州|漳州|南平|龙岩|宁德|南昌|景德镇|萍乡|九江|新余|鹰潭|赣州|吉安|宜春|抚州|上饶|济南|青岛"
    "|淄博|枣庄|东营|烟台|潍坊|济宁|泰安|威海|日照|临沂|德州|聊城|滨州|菏泽|郑州|开封|洛阳|平顶山|安阳|鹤壁|新乡|焦作|濮阳"
    "|许昌|漯河|三门峡|南阳|商丘|信阳|周口|驻马店|武汉|黄石|十堰|宜昌|襄阳|鄂州|荆门|孝感|荆州|黄冈|咸宁|随州|长沙|株洲"
    "|湘潭|衡阳|邵阳|岳阳|常德|张家界|益阳|郴州|永州|怀化|娄底|广州|韶关|深圳|珠海|汕头|佛山|江门|湛江|茂名|肇庆|惠州|梅州"
    "|汕尾|河源|阳江|清远|东莞|中山|潮州|揭阳|云浮|南宁|柳州|桂林|梧州|北海|防城港|钦州|贵港|玉林|百色|贺州|河池|来宾|崇左"
    "|海口|三亚|三沙|儋州|成都|自贡|攀枝花|泸州|德阳|绵阳|广元|遂宁|内江|乐山|南充|眉山|宜宾|广安|达州|雅安|巴中|资阳|贵阳"
    "|六盘水|遵义|安顺|毕节|铜仁|昆明|曲靖|玉溪|保山|昭通|丽江|普洱|临沧|大理|拉萨|日喀则|西安|铜川|宝鸡|咸阳|渭南|延安|汉中"
    "|榆林|安康|商洛|兰州|嘉峪关|金昌|白银|天水|武威|张掖|平凉|酒泉|庆阳|定西|陇南|西宁|海东|银川|石嘴山|吴忠|固原|中卫"
    "|乌鲁木齐|克拉玛依|吐鲁番|哈密|伊犁|台北|新北|桃园|台中|台南|高雄)市?"
)
_HAN = "[\u4e00-\u9fff]"
_NUMBER = r"(?:[甲乙丙附第])?(?:\d{1,5}(?:[\-之]\d{1,4})?|[A-Za-z]\d{0,3}|[一二三四五六七八九十百]{1,4})"
_UNIT = "(?:号院|号楼|号|弄|巷|栋|幢|座|单元|楼|层|室|门|组)"
_NOT_UNIT = "(?!线|公路|文件|令|选手|机|台|病|方案|技师|员工|窗口|出口|口|题|桌|球|种子|那天|前|晚|早|下午|上午|开始|左右|之前|之后)"
_ROAD = (
    "(?:(?<![线铁公走出一思道网套退])路|(?<![逛])街|大道|大街|胡同|巷|弄|里|道|村|镇|小区|社区|花园|家园|新村|公寓|大厦|广场"
    "|苑|园|城|庄|府|庭|湾|院|寓|宿舍|中心|校区|街坊|工业区|开发区|科技园|街道|乡|屯|营|楼)"
)
_SPOT = (
    rf"{_ROAD}(?:[东南西北中](?:路|街|段|里|区|一|二|三)?)?(?:[一二三四五六七八九十]{{1,2}}(?:路|街|段|巷|弄|区|期|里))?"
    rf" ?{_NUMBER}{_UNIT}{_NOT_UNIT}"
)
_INSIDE = rf"(?: ?,? ?(?:{_HAN}{{1,10}}?|[A-Za-z]{{1,2}})?{_NUMBER}{_UNIT}{_NOT_UNIT}){{0,5}}(?:(?:(?<=[楼栋幢座元])|[\-~])\d{{3,4}}室?(?!\d))?"
_REGION = rf"(?:{_PROVINCE} ?{_CITY} ?|{_PROVINCE} ?|{_CITY} ?)"
_ANY = "[\u4e00-\u9fffA-Za-z0-9 ]"

_ZH_WHOLE = re.compile(rf"(?:中国)?{_REGION}{_ANY}{{0,30}}?{_SPOT}{_INSIDE}")
_ZH_DISTRICT = re.compile(rf"{_HAN}{{1,7}}?(?:区|县|市|旗)(?!别|分)[\u4e00-\u9fffA-Za-z0-9]{{0,20}}?{_SPOT}{_INSIDE}")
_ZH_ROAD = re.compile(
    rf"{_HAN}{{1,6}}?(?:(?<![线铁公走出一思道网套退])路|(?<![逛上])街|大道|大街|胡同|巷|小区|社区|花园|家园|新村|公寓|苑|府)"
    rf"(?:[东南西北中](?:路|街|段|里|区)?)?(?:[一二三四五六七八九十]{{1,2}}(?:路|街|段|巷|弄|区|期))? ?{_NUMBER}{_UNIT}{_NOT_UNIT}{_INSIDE}"
)
_ZH_VILLAGE = re.compile(
    rf"(?:{_PROVINCE} ?{_HAN}{{2,7}}?(?:市|州|盟|地区) ?|{_CITY} ?){_HAN}{{1,6}}?(?:区|县|市|旗) ?{_HAN}{{1,6}}?(?:镇|乡|街道)"
    rf" ?(?:{_HAN}{{1,6}}?(?:村|社区|屯|庄)(?:{_NUMBER}(?:组|号|队))?)?"
)
_ZH_ANCHOR = re.compile(r"[\dA-Za-z一二三四五六七八九十百] ?(?:号|弄|巷|栋|幢|座|单元|楼|层|室|门|组)")
# What stands before an address in a sentence, and isn't part of it.
_ZH_LEAD = re.compile(
    r".*(?:住在|家住|现住|居住在?|居住于|住址|地址|位于|寄到|寄往|寄至|寄给|送到|送至|送往|发到|搬到|搬去|搬进|来到|回到|前往|就在|都在"
    r"|开在|设在|放在|租在|定在|改为|改成|上门|快递|给|住|是|在|到|去|为|从|往|我|你|他|她|家|的|于(?!洪|都|田))"
)
_ZH_LABEL = re.compile(r"址|住|寄|送|收货|收件|快递|搬|户籍|籍贯|上门|家在|租")


def chinese_addresses(text: str) -> Iterator[Finding]:
    """Chinese street addresses, from province, district or road down to a house or room number."""
    free = 0
    for anchor in _ZH_ANCHOR.finditer(text):
        if anchor.start() < free:
            continue
        begin, limit = max(free, anchor.start() - 48), min(len(text), anchor.end() + 64)
        for sign in "\n。；;!?、:\"“”":
            begin = max(begin, text.rfind(sign, begin, anchor.start()) + 1)
        found = _whole(text, begin, anchor.end(), limit)
        if found:
            yield found
            free = found.end


def chinese_villages(text: str) -> Iterator[Finding]:
    """Chinese addresses down to a town or village, without a number."""
    for hit in _ZH_VILLAGE.finditer(text):
        yield Finding("address", hit.start(), hit.end(), 0.65)


def _whole(text: str, begin: int, anchor: int, limit: int) -> Finding | None:
    for pattern, confidence in ((_ZH_WHOLE, 0.85), (_ZH_DISTRICT, 0.7), (_ZH_ROAD, 0.6)):
        hit = pattern.search(text, begin, limit)
        if hit and hit.end() >= anchor:
            start = hit.start()
            if pattern is not _ZH_WHOLE:
                lead = _ZH_LEAD.match(text, start, min(hit.end(), start + 8))
                start = lead.end() if lead else start
                if hit.end() - start < 4:
                    continue
            label = before(_ZH_LABEL, text, start, 12) or _ZH_LABEL.search(text, hit.start(), start)
            return Finding("address", start, hit.end(), confidence + 0.1 if label else confidence)
    return None


_STATE = (
    "(?:A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[TA]|W[AVIY])"
)
_STATE_NAME = (
    "(?:Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|Indiana"
    "|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada"
    "|New (?:Hampshire|Jersey|Mexico|York)|North (?:Carolina|Dakota)|Ohio|Oklahoma|Oregon|Pennsylvania|Rhode Island"
    "|South (?:Carolina|Dakota)|Tennessee|Texas|Utah|Vermont|(?:West )?Virginia|Washington|Wisconsin|Wyoming)"
)
_SUFFIX = (
    "(?:Street|St|Avenue|Ave|Av|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Crescent|Cres|Close"
    "|Way|Highway|Hwy|Parkway|Pkwy|Circle|Cir|Trail|Trl|Loop|Mews|Gardens|Grove|Row|Alley|Quay|Walk|Broadway|Turnpike|Pike)"
)
_POSTCODE = r"(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[ABD-HJLNP-UW-Z]{2})"
_SPACE = r"(?:,? ?\n ?|,? )"
_ROOM = (
    rf"(?:{_SPACE}(?:Apt|Apartment|Suite|Ste|Unit|Floor|Fl|Flat|Room|Rm|Bldg|Building)\b\.? ?#?\w{{1,6}}|{_SPACE}# ?\w{{1,6}}"
    rf"|{_SPACE}\d{{1,2}}(?:st|nd|rd|th) floor)"
)
_TOWN = r"(?:[A-Z\u00c0-\u00de][\w.'’\-]{1,20}(?: [A-Z\u00c0-\u00de][\w.'’\-]{1,20}){0,3})"
_REST = (
    rf"(?:{_SPACE}{_TOWN}(?:{_SPACE}(?:{_STATE}|{_STATE_NAME})\b\.?)?{_SPACE}(?:\d{{5}}(?:-\d{{4}})?\b|{_POSTCODE}\b)"
    rf"|{_SPACE}{_TOWN}{_SPACE}(?:{_STATE}|{_STATE_NAME})\b(?!')|,{_SPACE}?{_TOWN}|{_SPACE}{_POSTCODE}\b)"
)
_EN_STREET = re.compile(
    rf"(?<![\w.,$#/:\-])(?:(?:Apt|Flat|Unit|Suite)\b\.? ?\w{{1,5}},? )?#?\d{{1,6}}[A-Za-z]?(?:[\-/]\d{{1,4}})?,?(?: ½)? "
    rf"(?:(?:[NSEW]|NE|NW|SE|SW)\b\.? )?(?:(?:[A-Z\u00c0-\u00de][\w'’.\-]{{0,20}}|\d{{1,3}}(?:st|nd|rd|th)|of|the|de|la)(?: )){{1,4}}?"
    rf"{_SUFFIX}\b\.?(?: (?:[NSEW]|North|South|East|West|NE|NW|SE|SW)\b\.?)?{_ROOM}{{0,2}}{_REST}?"
)
_EN_LOWER = re.compile(
    rf"(?<![\w.,$#/:\-])#?\d{{1,6}}[a-z]?,? (?:(?:[a-z][a-z'’.\-]{{0,20}}|\d{{1,3}}(?:st|nd|rd|th)) ){{1,3}}?{_SUFFIX}\b\.?{_ROOM}{{0,2}}"
    rf"(?:,? [a-z]{{2,20}}(?:,? [a-z]{{2,20}})?,? (?:{_STATE}\b )?\d{{5}}\b)?",
    _I,
)
_EN_LIVES = re.compile(
    r"\b(?:liv(?:e|es|ed|ing)|resid\w+|stay(?:s|ing)?|mov(?:e|ed|ing)|ship(?:ped|ping)?|deliver\w*|send|sent|mail(?:ed)?|address|located|home is|house is|come to|to me at|pick me up|drop\w* off)\b",
    _I,
)
_EN_UNIT = re.compile(
    rf"(?<![\w.,$#/:\-])\d{{1,6}} (?:[A-Z\u00c0-\u00de][\w'’.\-]{{1,24}}\.? ){{1,4}}(?:\d{{1,5}}\.?)?{_SPACE}?(?:Apt|Suite|Unit)\b\.? ?#?\d{{1,5}}{_REST}?"
)
_ZIP = re.compile(r"(?<=[A-Za-z.,]) \d{5}(?:-\d{4})?(?![\w\-])")
_STATE_BEFORE = re.compile(rf"(?<![A-Za-z])(?:{_STATE}|{_STATE_NAME})\.?,?\Z")
_TOWN_BEFORE = re.compile(rf"{_TOWN},? \Z")
_EN_BOX = re.compile(rf"(?<!\w)(?:P\.? ?O\.? ?Box|Post Office Box|GPO Box|Private Bag) #?\d{{1,6}}(?!\d){_REST}?", _I)
_EN_MILITARY = re.compile(
    r"(?<!\w)(?:(?:PSC|Unit|CMR) \d{1,5},? Box \d{1,5}|USN?S [A-Z][A-Za-z]{2,15})[, \n]{1,3}(?:APO|FPO|DPO)[, ]{1,2}(?:AA|AE|AP) \d{5}(?!\d)"
)
_UK_POSTCODE = re.compile(r"(?<![A-Za-z0-9])[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}(?![A-Za-z0-9])")
_POSTCODE_LABEL = re.compile(r"post ?code|postal code|address|邮编", _I)


STREET_WORDS = (
    "street st avenue ave av road rd boulevard blvd lane ln drive dr court ct place pl square sq terrace ter crescent cres close way highway"
    " hwy parkway pkwy circle cir trail trl loop mews gardens grove row alley quay walk broadway turnpike pike apt suite unit"
)


def english_streets(text: str) -> Iterator[Finding]:
    """Street addresses in English forms, with flat, town and postal code where they follow."""
    for hit in _EN_STREET.finditer(text):
        label = before(_EN_LIVES, text, hit.start(), 32)
        yield Finding("address", hit.start(), hit.end(), 0.85 if label else 0.75)
    for hit in _EN_LOWER.finditer(text):
        if before(_EN_LIVES, text, hit.start(), 24):
            yield Finding("address", hit.start(), hit.end(), 0.65)
    for hit in _EN_UNIT.finditer(text):
        yield Finding("address", hit.start(), hit.end(), 0.75)


def english_boxes(text: str) -> Iterator[Finding]:
    """Post boxes, and addresses of the US forces."""
    for hit in _EN_BOX.finditer(text):
        yield Finding("address", hit.start(), hit.end(), 0.75)
    for hit in _EN_MILITARY.finditer(text):
        yield Finding("address", hit.start(), hit.end(), 0.9)


def american_towns(text: str) -> Iterator[Finding]:
    """Towns with their state and postal code."""
    for hit in _ZIP.finditer(text):
        state = _STATE_BEFORE.search(text, max(0, hit.start() - 18), hit.start())
        if state:
            town = _TOWN_BEFORE.search(text, max(0, state.start() - 48), state.start())
            if town:
                yield Finding("address", town.start(), hit.end(), 0.7)


def british_postcodes(text: str) -> Iterator[Finding]:
    """Postal codes of the UK, by their label."""
    for hit in _UK_POSTCODE.finditer(text):
        if before(_POSTCODE_LABEL, text, hit.start()):
            yield Finding("address", hit.start(), hit.end(), 0.7)


_PLATE = re.compile(
    r"(?<![A-Za-z0-9])([京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼])([A-HJ-NP-Z])[·•.\- ]?"
    r"((?:[A-HJ-NP-Z0-9]{5,6})|(?:[A-HJ-NP-Z0-9]{4}[学警港澳挂领使]))(?![A-Za-z0-9])",
    _I,
)
_PLATE_LABEL = re.compile(r"车牌|牌照|号牌|车号|开的?是?|车辆|停车|违章")


def licence_plates(text: str) -> Iterator[Finding]:
    """Chinese licence plates, those of electric cars among them."""
    for hit in _PLATE.finditer(text):
        serial = hit[3].upper()
        digits = sum(character.isdigit() for character in serial)
        if len(serial) == 6 and not (serial[0] in "ABCDEFGHJK" or serial[-1] in "ABCDEFGHJK"):
            continue
        if digits < 2 or not (hit[0].upper() == hit[0] or before(_PLATE_LABEL, text, hit.start())):
            continue
        yield Finding("licence_plate", hit.start(), hit.end(), 0.9)
