"""Analysis of the answers: statistics with intervals, text metrics, figures, tables and exports.

Everything here takes plain rows and gives plain rows; nothing reads a model.
"""
