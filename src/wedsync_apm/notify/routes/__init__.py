"""The tree of notification rules, as members see and change it."""
