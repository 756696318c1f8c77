import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { ask, type Case, code } from './case.ts'

export const filtersCases: readonly Case[] = [
  {
    what: 'filter with a bare value after a slash',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name==/x'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with a bare value after a pipe',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name==|x|'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with a field with a hyphen',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'labels.q-r'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with an expression cut by its own delimiter',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name~=/^/tasks/'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with white space at the end',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name==a '] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with white space before a comma',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name==a ,name==b'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with a line break in quotes',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name=="a\nb"'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with quotes that do not end',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name=="a'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with a single equals sign',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name=a'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with an operator of no kind',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name<>b'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with no field',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', '==a'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with a leading dot',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', '.name'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with a trailing dot',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'labels.==a'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with an unknown escape',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name=="\\q"'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with nothing behind a comma',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name==a,'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[name==a,\]: expected .*field.*: invalid argument/,
  },
  {
    what: 'filter with no value',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name=='] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[name==\]: expected .*value.*: invalid argument/,
  },
  {
    what: 'filter with a single quote as field',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', "'name'==a"] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
  {
    what: 'filter with slashes after another operator',
    ask: ask(ImagesDefinition, 'list', { filters: ['name==fine', 'name!=/a/'] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error: \[.*>\|.*\|<.*\]: .*: invalid argument/s,
  },
]
