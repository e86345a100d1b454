"""The page in a real browser."""

import pytest

pytestmark = pytest.mark.browser

VISIBLE = "getComputedStyle(document.querySelector('main.only-{}')).display !== 'none'"


async def shown(tab):
    return [code for code in ("en", "zh") if await tab.value(VISIBLE.format(code))]


async def test_every_page_opens_cleanly_fits_and_fetches_nothing(chromium, tab, results, pages, tmp_path):
    async with tab(chromium) as opened:
        for name in results:
            file = tmp_path / f"{name}.html"
            file.write_text(pages(name), "utf-8")
            for width in (390, 1280):
                await opened.open(file, width)
                assert opened.complaints() == []
                assert {url.split(":")[0] for url in opened.requests()} <= {"file", "data"}
                for language in ("en", "zh"):
                    await opened.value(f"document.getElementById('show-{language}').click()")
                    assert await opened.value("document.documentElement.scrollWidth") == width, (
                        name,
                        language,
                    )
            assert await opened.value("window.alerted") is None


@pytest.mark.parametrize("script", [True, False])
async def test_the_language_switches_with_and_without_script(chromium, tab, pages, tmp_path, script):
    file = tmp_path / "page.html"
    file.write_text(pages("failed"), "utf-8")
    async with tab(chromium) as opened:
        await opened.open(file, 1280, script=script)
        assert await shown(opened) == ["en"]
        place = await opened.value(
            "(() => { const r = document.querySelector('[for=show-zh]').getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await opened.call(
                "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1
            )
        assert await shown(opened) == ["zh"]
        await opened.open(file, 1280, script=script)
        assert await shown(opened) == (["zh"] if script else ["en"]), "the script remembers the choice"


async def test_dark_pages_have_dark_plots(chromium, tab, pages, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(pages("proved"), "utf-8")
    colour = "getComputedStyle(document.querySelector('main.only-en .plot text')).fill"
    async with tab(chromium) as opened:
        await opened.open(file, 1280)
        light = await opened.value(colour)
        await opened.open(file, 1280, dark=True)
        dark = await opened.value(colour)
    assert (light, dark) == ("rgb(90, 103, 120)", "rgb(148, 161, 178)")


async def test_text_has_enough_contrast_in_both_themes(chromium, tab, pages, tmp_path):
    """WCAG 2.2 AA: 4.5 to 1 for text, measured on what is drawn."""
    file = tmp_path / "page.html"
    file.write_text(pages("not_proved"), "utf-8")
    measure = """(() => {
      const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
      const light = c => { const [r, g, b] = parse(c).map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
        return .2126 * r + .7152 * g + .0722 * b; };
      const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (parse(c)[3] !== 0) return c; } return 'rgb(255,255,255)'; };
      const bad = new Set();
      for (const e of document.querySelectorAll('main.only-en *')) {
        if (e.closest('svg') && e.tagName !== 'text') continue;
        if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
        const ink = e.tagName === 'text' ? getComputedStyle(e).fill : getComputedStyle(e).color;
        const on = e.tagName === 'text' ? ground(e.closest('.plot')) : ground(e);
        const [a, b] = [light(ink), light(on)].sort((x, y) => y - x);
        const number = e.tagName === 'text' && /^\\d$/.test(e.textContent);
        if (!number && (a + .05) / (b + .05) < 4.5) bad.add(e.tagName + '.' + e.className + ' ' + ink + ' on ' + on);
      }
      return [...bad];
    })()"""
    async with tab(chromium) as opened:
        for dark in (False, True):
            await opened.open(file, 1280, dark=dark)
            assert await opened.value(measure) == []
