//! What a value means that is not a network: yes or no, a number, a date, a list.
//!
//! Numbers are read as the original reads them, with C's rules, because files rely on that; but a [`Number`] says whether
//! there was more than a number, so that the caller can complain. Nothing is cut to fit.

use std::ops::RangeInclusive;

/// Whether the value says yes: its first letter is `Y` or `y`. (`true`, `1` and `on` do not.)
#[must_use]
pub fn says_yes(text: &str) -> bool {
    text.starts_with(['Y', 'y'])
}

/// Whether the value says no: its first letter is `N` or `n`.
#[must_use]
pub fn says_no(text: &str) -> bool {
    text.starts_with(['N', 'n'])
}

/// A decimal number as the C library reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// Its value; what no i64 can hold becomes the largest or smallest.
    pub value: i64,
    /// Whether the text was more or less than digits with perhaps a sign: `60s` is 60, `abc` is 0, and neither was meant.
    pub odd: bool,
}

impl Number {
    /// Leading blanks and a sign are allowed, text after the digits is ignored, text without digits is 0.
    ///
    /// ```
    /// use fwknop_conf::value::Number;
    ///
    /// assert_eq!(Number::read("60"), Number { value: 60, odd: false });
    /// assert_eq!(Number::read("60s"), Number { value: 60, odd: true });
    /// assert_eq!(Number::read("0x10"), Number { value: 0, odd: true });
    /// ```
    #[must_use]
    pub fn read(text: &str) -> Self {
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let digits = unsigned.find(|c: char| !c.is_ascii_digit()).unwrap_or(unsigned.len());
        let (digits, rest) = unsigned.split_at(digits);
        let size = digits
            .bytes()
            .fold(0i64, |value, digit| value.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0'))));
        let value = if text.starts_with('-') { -size } else { size };
        Self { value, odd: digits.is_empty() || !rest.is_empty() }
    }

    /// The number, if it lies in `range` (and so fits whatever the range's ends fit).
    #[must_use]
    pub fn within(self, range: &RangeInclusive<u32>) -> Option<u32> {
        u32::try_from(self.value).ok().filter(|value| range.contains(value))
    }
}

/// A day, as `MM/DD/YYYY` means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Days since 1970-01-01.
    pub days: i64,
    /// Whether the text named a day that the calendar does not have, and so means another: `13/1/2030` is in 2031.
    pub rolled: bool,
}

impl Date {
    /// Reads `MM/DD/YYYY`. Two digits of year mean 20xx; month 0 is January; what is out of range rolls over; text after the
    /// year is ignored, all as in the original. `None` if there are no three numbers, or a number is beyond all sense.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/').map(|part| (Number::read(part), part));
        let mut next = || parts.next().filter(|(_, part)| part.trim_start().starts_with(|c: char| c.is_ascii_digit()));
        let ((month, _), (day, _), (year, _)) = (next()?, next()?, next()?);
        if month.odd || day.odd || month.value > 9999 || day.value > 9999 || year.value > 9999 {
            return None;
        }
        let full_year = match year.value {
            0..=99 => year.value + 2000,
            1900.. => year.value,
            _ => return None,
        };
        let month0 = (month.value - 1).max(0);
        let (real_year, real_month) = (full_year + month0 / 12, month0 % 12 + 1);
        let days = days_before(real_year, real_month) + day.value - 1;
        let next_month = days_before(real_year + real_month / 12, real_month % 12 + 1);
        let rolled = year.odd || !(1..=12).contains(&month.value) || day.value < 1 || days >= next_month;
        Some(Self { days, rolled })
    }
}

/// Days from 1970-01-01 to the first of a month, for years from 1900 on.
fn days_before(year: i64, month: i64) -> i64 {
    // Years are counted from March on, so that a leap day is a year's last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 - 719_468
}

/// The elements of a comma list, without the blanks before each (those behind it count in some lists). An empty element is one.
pub fn elements(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(|element| element.trim_start_matches([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_first_letter_says_yes_or_no() {
        assert!(says_yes("Y") && says_yes("yes") && !says_yes("1") && !says_yes("true") && !says_yes(""));
        assert!(says_no("N") && says_no("no") && !says_no("0") && !says_no(""));
    }

    #[test]
    fn numbers_are_read_like_c_but_not_cut() {
        for (text, value, odd) in [
            ("0", 0, false),
            ("  -5 ", -5, false),
            ("+7", 7, false),
            ("22-25", 22, true),
            ("", 0, true),
            ("-", 0, true),
            ("4294967356", 4_294_967_356, false),
            ("99999999999999999999", i64::MAX, false),
        ] {
            assert_eq!(Number::read(text), Number { value, odd }, "{text:?}");
        }
        assert_eq!(Number::read("4294967356").within(&(1..=100)), None);
        assert_eq!(Number::read("-1").within(&(0..=100)), None);
        assert_eq!(Number::read("100").within(&(1..=100)), Some(100));
    }

    #[test]
    fn dates_roll_over_and_say_so() {
        for (text, days, rolled) in [
            ("12/31/2030", 22_279, false),
            ("1/1/1970", 0, false),
            ("02/29/2028", 21_243, false),
            ("1/1/30", 21_915, false),
            ("0/5/2030", 21_919, true),
            ("13/1/2030", 22_280, true),
            ("2/30/2030", 21_975, true),
            ("12/0/2030", 22_248, true),
            ("12/31/2030x", 22_279, true),
        ] {
            assert_eq!(Date::read(text), Some(Date { days, rolled }), "{text}");
        }
    }

    #[test]
    fn what_is_not_three_numbers_is_not_a_date() {
        for text in ["2030-12-31", "12/31", "a/b/c", "12/31/", "", "1/1/99999999999999999999", "-1/1/2030", "1/1/130"] {
            assert_eq!(Date::read(text), None, "{text}");
        }
    }

    #[test]
    fn lists_keep_empty_elements() {
        let found: Vec<_> = elements("a, b ,,c").collect();
        assert_eq!(found, ["a", "b ", "", "c"]);
    }

    proptest! {
        #[test]
        fn a_number_reads_back(value in any::<i32>()) {
            prop_assert_eq!(Number::read(&value.to_string()), Number { value: value.into(), odd: false });
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*|[0-9]{0,25}/[-0-9]{0,25}/[0-9]{0,25}") {
            let _ = Number::read(&text);
            let _ = Date::read(&text);
        }
    }
}
