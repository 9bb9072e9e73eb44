"""The figures that Lin, Hsu, Chen 2025 (arXiv:2512.05058) publish."""

ITERATIONS = {
    10: {"qk_lstm": 48, "lstm": 86, "qlstm": 57, "qfwp": 128, "random": 177},
    11: {"qk_lstm": 45, "lstm": 82, "qlstm": 49, "qfwp": 141, "random": 155},
    12: {"qk_lstm": 41, "lstm": 76, "qlstm": 49, "qfwp": 111, "random": 146},
    13: {"qk_lstm": 35, "lstm": 72, "qlstm": 47, "qfwp": 177, "random": 145},
}
"""Table II: iterations to convergence by nodes."""

PHASE_ONE = {
    10: {"qk_lstm": (0.82, 0.03), "lstm": (0.79, 0.03), "qlstm": (0.81, 0.04), "qfwp": (0.63, 0.05)},
    11: {"qk_lstm": (0.83, 0.01), "lstm": (0.79, 0.02), "qlstm": (0.82, 0.02), "qfwp": (0.62, 0.05)},
    12: {"qk_lstm": (0.81, 0.03), "lstm": (0.76, 0.03), "qlstm": (0.78, 0.02), "qfwp": (0.55, 0.04)},
    13: {"qk_lstm": (0.83, 0.03), "lstm": (0.77, 0.03), "qlstm": (0.81, 0.03), "qfwp": (0.65, 0.05)},
}
"""Table III: approximation ratio at the end of Phase I, mean and what the paper calls the standard deviation."""

PHASE_TWO = {
    10: {"qk_lstm": (0.83, 0.03), "lstm": (0.80, 0.03), "qlstm": (0.82, 0.03), "qfwp": (0.70, 0.05)},
    11: {"qk_lstm": (0.84, 0.01), "lstm": (0.81, 0.02), "qlstm": (0.84, 0.02), "qfwp": (0.70, 0.05)},
    12: {"qk_lstm": (0.82, 0.03), "lstm": (0.78, 0.03), "qlstm": (0.81, 0.03), "qfwp": (0.66, 0.05)},
    13: {"qk_lstm": (0.84, 0.03), "lstm": (0.80, 0.03), "qlstm": (0.83, 0.03), "qfwp": (0.72, 0.05)},
}
"""Table III: approximation ratio in Phase II."""

PHASE_TWO_RANDOM = {10: (0.70, 0.05), 11: (0.72, 0.04), 12: (0.71, 0.04), 13: (0.75, 0.04)}
"""Table III: the same from random starts."""
