"""Who somebody is: names and dates of birth, only where the words around them say so."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fangxin.detect.personal import _checks
from fangxin.detect.personal._finding import Finding, before

_I = re.IGNORECASE

_MONTHS = {
    name: i + 1
    for i, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split())
}
_MONTH = "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
_DATE = (
    r"(?:(?P<y1>(?:18|19|20)\d\d) ?[\-/.年] ?(?P<m1>1[0-2]|0?[1-9]) ?[\-/.月] ?(?P<d1>3[01]|[12]\d|0?[1-9])(?!\d) ?[日号]?"
    r"|(?P<a2>\d{1,2}) ?([\-/.]) ?(?P<b2>\d{1,2}) ?\5 ?(?P<y2>(?:18|19|20)\d\d|\d\d)(?!\d)"
    rf"|(?P<d3>3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?(?: of)?[ \-](?P<n3>{_MONTH})\.?,?[ \-](?P<y3>(?:18|19|20)\d\d)(?!\d)"
    rf"|(?P<n4>{_MONTH})\.? (?P<d4>3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?,? (?P<y4>(?:18|19|20)\d\d)(?!\d)"
    r"|(?<!\d)(?P<y5>(?:19|20)\d\d)(?P<m5>1[0-2]|0[1-9])(?P<d5>3[01]|[12]\d|0[1-9])(?!\d))"
)
_BORN = re.compile(
    r"(?:\bborn\b|\bbirth ?(?:day|date)\b|\bdate of birth\b|\bdob\b|\bd\.o\.b\b\.?|\bb-?day\b|生日|出生(?:日期|年月日?|于|在)?|生于|诞生)"
    rf"[^\n\d。;]{{0,20}}?(?<![\d.\-/]){_DATE}",
    _I,
)
_BORN_BEHIND = re.compile(rf"(?<![\d.\-/]){_DATE} ?,? ?(?:\(?(?:date of birth|dob)\)?|是?(?:我|他|她|本人|孩子|宝宝)?的?(?:出生|生人|生日|生的))", _I)

BIRTH_WORDS = "born birth* dob d.o.b* b-day bday 生日 出生 生于 诞生 生人 生的"


def births(text: str) -> Iterator[Finding]:
    """Dates of birth, by the words before or behind them; none of people who can't be alive."""
    for pattern in (_BORN, _BORN_BEHIND):
        for hit in pattern.finditer(text):
            if _alive(hit):
                groups = [hit.start(name) for name in ("y1", "a2", "d3", "n4", "y5") if hit[name]]
                ends = [hit.end(name) for name in ("d1", "y2", "y3", "y4", "d5") if hit[name]]
                end = ends[0] + (text[ends[0] : ends[0] + 1] in ("日", "号"))
                yield Finding("birth_date", groups[0], end, 0.8)


def _alive(hit: re.Match[str]) -> bool:
    if hit["a2"]:
        year, first, second = int(hit["y2"]), int(hit["a2"]), int(hit["b2"])
        years = [year] if year > 99 else [1900 + year, 2000 + year]
        return any(_checks.date(y, m, d) for y in years for m, d in ((first, second), (second, first)))
    for year, month, day in (("y1", "m1", "d1"), ("y3", "n3", "d3"), ("y4", "n4", "d4"), ("y5", "m5", "d5")):
        if hit[year]:
            number = hit[month] if month[0] == "m" else str(_MONTHS[hit[month][:3].lower()])
            return _checks.date(int(hit[year]), int(number), int(hit[day]))
    return False


_SURNAME = (
    "(?:欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|宇文|长孙|夏侯|司徒|端木|呼延|南宫|轩辕"
    "|[王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田"
    "任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞"
    "章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐沿梅莫庄辛管祝左涂谷祁时舒耿牟卜詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍位覃霍翁"
    "隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边辜吉饶刁瞿戚丘古米池滕晋苑邬臧畅宫来嵺苟全褚廉简娄盖符奚木穆党燕郎邸冀谈姬"
    "屠连郜晏栾郁商蒙计喻揭窦迟宇敖糜鄢冷卓花仇艾蓝都巩稽井练仲乐虞卞封竺冼原官衣楚佟栗匡宗应台巫鞠僧桑荆谌银扬明沙薄伏岑习胥"
    "保和蔺])"
)
_HAN = "[\u4e00-\u9fff]"
_END = r"(?=[\s,。.;:!?、\"'()<>/|\[\]”“》】…]|\Z)"
_FOLLOWER = f"(?={_HAN})(?=(?:今年|来自|是|在|的|住|身份|手机|电话|联系|性别|年龄|出生|和|与|同|先生|女士|小姐|老师|医生|想|要|有|也|就|刚|现|目前|本人|,))"
_NAME_ZH = rf"({_HAN}{{2,7}}(?:[·•]{_HAN}{{1,8}}){{1,3}}|{_SURNAME}{_HAN}(?![的是在住有也和与身手今来就想要]){_HAN}(?:{_END}|{_FOLLOWER})|{_SURNAME}{_HAN}{_END}|{_SURNAME}{_HAN}{_FOLLOWER})"
_LABEL_ZH = re.compile(
    r"(?:姓 ?名|名字|联系人|收件人|收货人|寄件人|寄件方|收件方|经办人|申请人|报案人|法定代表人|法人代表|法人|负责人|户名|开户人|持卡人|患者|病人|乘客|旅客"
    r"|投保人|被保险人|受益人|客户|顾客|甲方|乙方|签名|签字|署名|本名|真名|业主|房东|租客|学生|家长|员工|候选人|应聘者|紧急联系人|监护人|车主|买家|卖家|账户名)"
    rf"(?:\(?(?:签字|签名|签章|姓名|名称|本人)\)?)? ?[:=|] ?{_NAME_ZH}"
)
_SAID_ZH = re.compile(rf"(?:姓名是|姓名为|名字是|名字叫|名叫|我叫|他叫|她叫|叫做|本名是?|真名是?|我姓名|我是(?={_SURNAME}{_HAN}{{1,2}}[,。!(]))(?:做|作)? ?{_NAME_ZH}")
_HONOUR_ZH = re.compile(
    rf"(?<![\u4e00-\u9fff])(?:[请问找给向跟和与让对由是叫替帮被]|联系|通知|转告|告诉|拜托|感谢|尊敬的|亲爱的|客户|患者)?({_SURNAME}{_HAN}{{1,2}}?)"
    r"(?=(?:先生|女士|小姐|太太|同志|老师|医生|大夫|教授|经理|律师|师傅|阿姨|叔叔|同学|主任|护士))"
)
CHINESE_WORDS = (
    "姓 名 联系人 收件 收货人 寄件 经办人 申请人 报案人 法定代表人 法人 负责人 开户人 持卡人 患者 病人 乘客 旅客 投保人 被保险人 受益人 客户 顾客 甲方 乙方"
    " 签字 业主 房东 租客 学生 家长 员工 候选人 应聘者 监护人 车主 买家 卖家 叫 我是 先生 女士 小姐 太太 同志 老师 医生 大夫 教授 经理 律师 师傅 阿姨 叔叔 同学"
    " 主任 护士"
)
_NOT_NAME_ZH = re.compile(r"什么|哪|谁|如何|怎么|自己|不详|未知|保密|匿名|同上|必填|请输|本人|某|先生|女士|小姐|所有|高级|任何|公司|有限|无|单位|部门|老师|的\Z|周[末一二三四五六日]|一个|这个|那个|小明小")


def chinese_names(text: str) -> Iterator[Finding]:
    """Chinese names behind a label, behind words such as 我叫, or whole before a form of address."""
    for pattern, confidence in ((_LABEL_ZH, 0.7), (_SAID_ZH, 0.65), (_HONOUR_ZH, 0.55)):
        for hit in pattern.finditer(text):
            if not _NOT_NAME_ZH.search(hit[1]):
                yield Finding("name", hit.start(1), hit.end(1), confidence)


_WORD = r"(?:[A-Z\u00c0-\u00de\u0100-\u017e][\w'’\-]{1,20}|[A-Z]\.)"
_NAME = rf"({_WORD}(?: {_WORD}){{0,3}})"
_SAID = re.compile(
    r"(?:\b(?:my|his|her|their|the patient's|the client's|maiden|real|full|legal) name(?:'s| is| was)"
    r"|\b(?:i am called|i'm called|call me|this is|speaking with|you can call me|name's)) "
    rf"(?-i:(?:(?:Mr|Mrs|Ms|Miss|Dr|Prof)\b\.? )?{_NAME})(?P<behind> (?:speaking|here|calling|from|writing)|[,.!;]|\Z|\n| and| -)?",
    _I,
)
_SAID_LOWER = re.compile(r"\bmy (?:full |real )?name(?:'s| is) ([a-z][a-z'\-]{1,15}(?: [a-z][a-z'\-]{1,15})?)(?= and\b| i\b|[,.!;\n]|\Z)")
_LABEL = re.compile(
    r"(?:(?<![A-Za-z])(?:(?:full|first|last|sur|given|family|middle|customer|patient|contact|client|employee|account holder'?s?|cardholder'?s?|holder'?s?|applicant'?s?"
    r"|emergency contact|guest|student|parent|tenant|buyer|seller|recipient|sender|user|legal|maiden)[ _\-]?name|name|patient|cardholder|account holder|attn|recipient"
    r"|beneficiary|applicant|claimant|insured|next of kin|emergency contact|signed|passenger|payee))"
    rf"[\"']? ?[:=|] ?[\"']?(?-i:(?:(?:Mr|Mrs|Ms|Miss|Dr|Prof)\b\.? )?{_NAME})",
    _I,
)
_HONOUR = re.compile(rf"(?<![A-Za-z])(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Madam|Rev|Capt|Sgt|Lt|Judge|Senator)\b\.? {_NAME}")
_DEAR = re.compile(rf"(?:^|\n)\s?(?:Dear|Hi|Hello|Hey) {_NAME}(?=[,:!]?\s*(?:\n|$)|,)")
_SIGNED = re.compile(rf"(?:regards|sincerely|best wishes|cheers|yours truly|yours faithfully|respectfully|thanks|thank you|many thanks),?\s?\n\s?(?-i:{_NAME})(?=\s*(?:\n|$|,|\|))", _I)
_NOT_NAME = re.compile(
    r"(?:the|a|an|not|my|our|your|sir|madam|sirs|customer|customers|team|all|everyone|everybody|friend|friends|there|guest|user|users|colleague|colleagues|hiring|support|sales"
    r"|president|manager|parent|parents|valued|member|john doe company|chairman|speaker|justice|who|what|when|where|why|how|this|that|it|here|now|one|just|so|very|none|null|unknown"
    r"|n/a|test|string|required|file|column|table|value|true|false|company|product|project|is|are|was|type|great|good|bad|because|also|why|monday|tuesday|wednesday|thursday|friday"
    r"|saturday|sunday|santa|siri|alexa|claude|chatgpt|gpt|assistant|google|openai|windows|linux|python|jesus|god|mom|dad|potter)\Z",
    _I,
)


INTRODUCTION_WORDS = "name name's called call_me speaking_with this_is"
LABEL_WORDS = (
    "name lastname firstname fullname surname username patient cardholder holder holder's attn recipient beneficiary applicant claimant insured kin"
    " contact signed passenger payee"
)
ADDRESS_WORDS = (
    "mr mrs ms miss mx dr prof professor sir madam rev capt sgt lt judge senator dear hi hello hey regards sincerely best_wishes"
    " cheers yours respectfully thanks thank_you"
)


def introduced_names(text: str) -> Iterator[Finding]:
    """English names behind an introduction such as "my name is"."""
    for hit in _SAID.finditer(text):
        if not _NOT_NAME.match(hit[1].split(" ")[0]) and ("name" in hit[0].lower() or hit["behind"]):
            yield Finding("name", hit.start(1), hit.end(1), 0.65)
    for hit in _SAID_LOWER.finditer(text):
        if not _NOT_NAME.match(hit[1].split(" ")[0]):
            yield Finding("name", hit.start(1), hit.end(1), 0.55)


def labelled_names(text: str) -> Iterator[Finding]:
    """English names behind a label such as "Name:"."""
    for hit in _LABEL.finditer(text):
        words = hit[1].split(" ")
        thing = len(words) == 1 and hit[0][:-len(hit[1])].endswith(("\"", "'"))  # `"name": "Widget"`
        if not thing and not _NOT_NAME.match(words[0]):
            yield Finding("name", hit.start(1), hit.end(1), 0.7)


def addressed_names(text: str) -> Iterator[Finding]:
    """English names behind a form of address, at the head of a letter or under it."""
    for pattern, confidence in ((_HONOUR, 0.6), (_DEAR, 0.55), (_SIGNED, 0.6)):
        for hit in pattern.finditer(text):
            if not _NOT_NAME.match(hit[1].split(" ")[0]):
                yield Finding("name", hit.start(1), hit.end(1), confidence)
