"""Speaks to Marketo: addresses and words of its bulk import, tokens, rationed calls, uploads and their answers."""
