"""Opens report pages in a browser as a person would (desk, phone, dark, printed) and says what is wrong with them."""

import argparse
import base64
import re
import sys
import tempfile
from pathlib import Path

from browser import Browser

LOOKS = [("desk", 1100, "light"), ("phone", 390, "light"), ("desk-dark", 1100, "dark"), ("phone-dark", 390, "dark")]

# Returns complaints. Everything is asked of what is laid out, not of the text of the page.
LOOK = """
(() => {
  const found = [];
  const root = document.documentElement;
  // A phone shows a wide page smaller, and innerWidth grows: the screen's own width is asked for.
  if (root.scrollWidth > WIDTH) found.push(`is ${root.scrollWidth} wide on a screen of ${WIDTH}`);
  const shown = [...document.querySelectorAll('svg')].filter(svg => svg.getBoundingClientRect().width > 0);
  if (shown.length === 0) found.push('shows no picture');
  const named = (what, element) => `${what}: "${element.textContent.trim().slice(0, 60)}"`;
  for (const svg of shown) {
    if (!svg.querySelector('title')?.textContent || !svg.querySelector('desc')?.textContent)
      found.push('a picture has no title or description');
    const frame = svg.getBoundingClientRect();
    const words = [...svg.querySelectorAll('text')].map(text => [text, text.getBoundingClientRect()]);
    for (const [text, box] of words) {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        found.push(named('words are cut', text));
      if (box.height < 9) found.push(named('words are too small', text));
    }
    words.forEach(([one, a], number) => words.slice(number + 1).forEach(([other, b]) => {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && high > 4) found.push(named('words overlap', one) + ' and ' + named('', other));
    }));
  }
  for (const element of document.querySelectorAll('p, li, h1, h2, dd, dt, th, td, figcaption, summary')) {
    const box = element.getBoundingClientRect();
    if (box.width === 0 || element.closest('.scroll')) continue;
    if (element.scrollWidth > element.clientWidth + 1 || box.right > WIDTH + 1) found.push(named('words are cut', element));
  }
  const bright = color => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(part => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(color)) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const paper = bright(behind(document.body));
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  if (dark && paper > 0.05) found.push('is bright in dark mode');
  if (!dark && paper < 0.8) found.push('is dark in light mode');
  const faint = new Set();
  for (const element of document.querySelectorAll('p, li, h1, h2, dd, dt, th, td, figcaption, summary, a, text')) {
    if (element.getBoundingClientRect().width === 0 || !element.textContent.trim()) continue;
    const style = getComputedStyle(element);
    const ink = bright(element.tagName === 'text' ? style.fill : style.color);
    const ground = bright(behind(element));
    const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    // The bounds of the accessibility guidelines (WCAG AA): 3 for large words, 4.5 for others.
    const size = parseFloat(style.fontSize);
    const bound = size >= 24 || style.fontWeight >= 600 && size >= 18.66 ? 3 : 4.5;
    if (ratio < bound) faint.add(named(`words are faint (${ratio.toFixed(1)})`, element));
  }
  return found.concat([...faint].slice(0, 20));
})()
"""


def complaints(browser, page, pictures=None):
    """Everything wrong with a page in all looks; pictures of them are written to a directory."""
    found = []
    for name, width, scheme in LOOKS:
        target, heard = browser.open(page, width, scheme)
        found += [f"{name}: {what}" for what in heard + browser.evaluate(LOOK.replace("WIDTH", str(width)))]
        if pictures:
            tall = browser.evaluate("document.documentElement.scrollHeight")
            clip = {"x": 0, "y": 0, "width": width, "height": min(tall, 16000), "scale": 1}
            shot = browser.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
            (pictures / f"{Path(page).stem}-{name}.png").write_bytes(base64.b64decode(shot["data"]))
        if name == "desk-dark":
            # Printed from a dark screen it must still be dark on white.
            printed = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
            found += [f"print: {what}" for what in print_complaints(browser, printed)]
            if pictures:
                (pictures / f"{Path(page).stem}.pdf").write_bytes(printed)
        browser.close(target)
    return found


def picture_of(browser, page, selector, path):
    """One part of a page, as a desk shows it in light mode."""
    target, _ = browser.open(page, 860, "light")
    rect = browser.evaluate(
        f"(({{x, y, width, height}}) => ({{x, y, width, height}}))(document.querySelector({selector!r}).getBoundingClientRect())"
    )
    shot = browser.call("Page.captureScreenshot", format="png", clip={**rect, "scale": 1}, captureBeyondViewport=True)
    path.write_bytes(base64.b64decode(shot["data"]))
    browser.close(target)


def print_complaints(browser, printed):
    found = []
    if not printed.startswith(b"%PDF-") or len(re.findall(rb"/Type\s*/Page\b", printed)) < 1:
        found.append("is no document")
    browser.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    if min(int(part) for part in re.findall(r"\d+", paper)[:3]) < 230:
        found.append(f"has a background of {paper}")
    browser.call("Emulation.setEmulatedMedia", media="", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    return found


# What is planted into a good page, and what has to be said of it.
FAULTS = [
    ("</main>", '<div style="width: 900px">wide</div></main>', "wide on a screen"),
    ("</main>", "<script>console.error('broken')</script></main>", "console"),
    ("</main>", "<script>undefined.broken</script></main>", "throws"),
    ("</main>", '<img src="http://127.0.0.1:9/x.png" alt=""></main>', "asks the network"),
    ("prefers-color-scheme: dark", "prefers-color-scheme: never", "bright in dark mode"),
    ("@media screen and (prefers-color-scheme: dark)", "@media (prefers-color-scheme: dark)", "print: has a background"),
    ("<svg ", '<span hidden class="', "shows no picture"),
    ("</svg>", '<text x="700" y="20">words that run out of the picture</text></svg>', "words are cut"),
    ("</svg>", '<text x="80" y="20">one</text><text x="82" y="22">two</text></svg>', "words overlap"),
    ("</main>", '<p style="color: #eee">faint in light mode</p></main>', "words are faint (1."),
    ("</main>", '<p style="color: #7c7c7c">just too faint</p></main>', "words are faint (4."),
    ("</main>", '<p style="overflow: hidden; white-space: nowrap; width: 9em">a sentence that is cut at its end</p></main>', "words are cut"),
]


def self_test(browser, page):
    """Every check must find its fault."""
    text = Path(page).read_text()
    with tempfile.TemporaryDirectory() as folder:
        for number, (where, fault, said) in enumerate(FAULTS):
            broken = Path(folder) / f"broken-{number}.html"
            assert where in text, f"the page has no {where} to plant a fault in"
            broken.write_text(text.replace(where, fault))
            found = complaints(browser, broken)
            if not any(said in what for what in found):
                sys.exit(f"planted {fault!r}, but nothing says {said!r}: {found}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--chromium", default="chromium")
    arguments.add_argument("--pictures", type=Path, help="write pictures and a PDF of each page to this directory")
    arguments.add_argument("--self-test", action="store_true", help="plant faults and see that they are found")
    arguments.add_argument("--part", nargs=2, metavar=("SELECTOR", "PNG"), help="write a picture of one part of the first page")
    arguments.add_argument("pages", nargs="+", type=Path)
    asked = arguments.parse_args()
    if asked.pictures:
        asked.pictures.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with Browser(asked.chromium) as browser:
        for page in asked.pages:
            found = complaints(browser, page, asked.pictures)
            wrong += len(found)
            print(f"{page.name}: {'as it should be' if not found else ''}")
            for what in found:
                print(f"  {what}")
        if asked.part:
            picture_of(browser, asked.pages[0], asked.part[0], Path(asked.part[1]))
        if asked.self_test and not wrong:
            self_test(browser, asked.pages[0])
            print(f"{len(FAULTS)} planted faults found")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
