//! The numbers of eras, which go round.

/// What has no era, so that the end of one does not concern it.
const NO_ERA: u16 = u16::MAX;
/// The highest era that there can be. After it they begin anew at the first.
const LAST_ERA: u16 = NO_ERA - 1;

/// Whether what began in one era is not ended where the present one is another.
pub(crate) const fn is_of_era(began: u16, present: u16) -> bool {
    began == present || began == NO_ERA
}

/// The era after that one.
pub(crate) const fn next_era(era: u16) -> u16 {
    if era >= LAST_ERA { 0 } else { era + 1 }
}

/// Whether an era of that number is to begin only once no session of an earlier one of that number can be left.
///
/// INVARIANT: when the first or the last era begins, there are no sessions but those of the era before it. So those of any
/// other number are gone before it comes again, however slowly they are swept: between two eras of one number lies the
/// beginning of the first one, and, for the first and the last themselves, their own.
pub(crate) const fn comes_again(next: u16) -> bool {
    next == 0 || next == LAST_ERA
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_go_round_and_pass_by_the_one_of_what_has_none() {
        let (mut era, mut begun) = (0, 0u32);
        loop {
            let next = next_era(era);
            assert!(next != NO_ERA && !is_of_era(era, next) && is_of_era(NO_ERA, next));
            assert_eq!(comes_again(next), next == 0 || next == LAST_ERA);
            (era, begun) = (next, begun + 1);
            if era == 0 {
                break;
            }
        }
        assert_eq!(begun, u32::from(NO_ERA));
    }
}
