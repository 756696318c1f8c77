import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { ask, type Case, code } from './case.ts'

/** Says where in the filter the fault is. */
const marked = /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s

const faults: ReadonlyArray<readonly [what: string, filter: string, message?: RegExp]> = [
  ['a bare value after a slash', 'name==/x'],
  ['a bare value after a pipe', 'name==|x|'],
  ['a field with a hyphen', 'labels.q-r'],
  ['an expression cut by its own delimiter', 'name~=/^/tasks/'],
  ['white space at the end', 'name==a '],
  ['white space before a comma', 'name==a ,name==b'],
  ['a line break in quotes', 'name=="a\nb"'],
  ['quotes that do not end', 'name=="a'],
  ['a single equals sign', 'name=a'],
  ['an operator of no kind', 'name<>b'],
  ['no field', '==a'],
  ['a leading dot', '.name'],
  ['a trailing dot', 'labels.==a'],
  ['an unknown escape', 'name=="\\q"'],
  ['nothing behind a comma', 'name==a,', /filters: parse error: \[name==a,\]: expected .*field.*: invalid argument/],
  ['no value', 'name==', /filters: parse error: \[name==\]: expected .*value.*: invalid argument/],
  ['a single quote as field', "'name'==a"],
  ['slashes after another operator', 'name!=/a/'],
]

export const filtersCases: readonly Case[] = faults.map(([what, filter, message = marked]) => ({
  what: `filter with ${what}`,
  ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', filter] }),
  code: code.INVALID_ARGUMENT,
  message,
}))
