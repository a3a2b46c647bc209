//! How long to wait before trying again.

use std::time::Duration;

/// Doubles from a first pause up to a longest, each time 20 % more or less than that, so that many
/// clients do not come back at the same moment (KIP-580).
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    /// Starts at `first`, ends at `longest`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest: longest.max(first), attempts: 0 }
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.peek();
        self.attempts = self.attempts.saturating_add(1);
        pause.mul_f64(0.8 + 0.4 * fastrand::f64()).min(self.longest)
    }

    /// The next pause without its jitter.
    fn peek(&self) -> Duration {
        self.first.saturating_mul(1 << self.attempts.min(20)).min(self.longest)
    }

    /// How many pauses there were since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// It went well: the next pause is the first again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(1000));
        for expected in [100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.next_pause().as_secs_f64() * 1000.0;
            let expected = f64::from(expected);
            assert!(pause >= expected * 0.8 && pause <= (expected * 1.2).min(1000.0), "{pause}");
        }
        for _ in 0..100 {
            backoff.next_pause();
        }
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_millis(120));
    }
}
