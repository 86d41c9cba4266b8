"""A topology for people and scripts.

`json_document` holds numbers in base units under keys that say so; `tables` holds text with units, for the report
package to print. `selection` says what both of them show of a topology too large to list.
"""
