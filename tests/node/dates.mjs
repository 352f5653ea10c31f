// How dates are written in each language, from the Unicode CLDR data inside Node: `node tests/node/dates.mjs > pages/common/dates.json`.
const LOCALES = ["en-US", "en-GB", "de", "de-AT", "fr", "es", "it", "nl", "pt", "da", "nb", "sv", "fi", "pl", "cs", "sk", "uk", "ru", "bg",
  "hu", "tr", "el", "id", "ja", "ko", "zh"];
const MONTHS = Array.from({ length: 12 }, (_, month) => new Date(Date.UTC(2026, month, 5, 7, 8)));

function parts(locale, options, date) {
  return new Intl.DateTimeFormat(locale, { calendar: "gregory", numberingSystem: "latn", timeZone: "UTC", ...options }).formatToParts(date);
}

const month = (list) => list.find((part) => part.type === "month").value;
const text = (list) => list.map((part) => part.value).join("");

// The pattern of a format: {d} {m} {y} {hh} {mm}, doubled where a zero is put before one digit; {month} is a word.
function pattern(locale, options) {
  const names = { day: "d", month: "m", year: "y", hour: "H", minute: "M" };
  return parts(locale, options, MONTHS[2]).map(({ type, value }) => {
    if (!(type in names)) return value;
    if (type === "month" && !/^\d+$/.test(value)) return "{month}";
    if (type === "year") return "{y}";
    return `{${value.startsWith("0") ? names[type].repeat(2) : names[type]}}`;
  }).join("");
}

function written(locale) {
  const day = { day: "numeric", month: "short" };
  const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return {
    day: pattern(locale, day),
    day_year: pattern(locale, { ...day, year: "numeric" }),
    time: pattern(locale, { ...day, ...time }),
    time_year: pattern(locale, { ...day, ...time, year: "numeric" }),
    clock: pattern(locale, time),
    months: MONTHS.map((date) => month(parts(locale, day, date))),
    month: MONTHS.map((date) => text(parts(locale, { month: "short" }, date))),
    month_year: pattern(locale, { month: "long", year: "numeric" }),
    names: MONTHS.map((date) => month(parts(locale, { month: "long", year: "numeric" }, date))),
    month_short_year: pattern(locale, { month: "short", year: "numeric" }),
    short_names: MONTHS.map((date) => month(parts(locale, { month: "short", year: "numeric" }, date))),
    figures: pattern(locale, { day: "numeric", month: "numeric" }),
    figures_year: pattern(locale, { day: "numeric", month: "numeric", year: "numeric" }),
    figures_time: pattern(locale, { day: "numeric", month: "numeric", ...time }),
    figures_month: pattern(locale, { month: "numeric", year: "numeric" }),
  };
}

process.stdout.write(JSON.stringify(Object.fromEntries(LOCALES.map((locale) => [locale, written(locale)])), null, 1) + "\n");
