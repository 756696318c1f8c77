import { IntrospectionDefinition } from '@flotilla/api/containerd/services/introspection/v1/introspection'
import { HealthDefinition } from '@flotilla/api/grpc/health/v1/health'
import { ask, badFilter, type Case, code } from './case.ts'

export const introspectionCases: readonly Case[] = [
  {
    what: 'plugins with a filter that does not parse',
    ask: ask(IntrospectionDefinition, 'plugins', { filters: [badFilter] }),
    code: code.INVALID_ARGUMENT,
    message: /filters/,
  },
  {
    what: 'plugin info of what is not there',
    ask: ask(IntrospectionDefinition, 'pluginInfo', { type: 'io.containerd.boats.v1', id: 'ferry' }),
    code: code.NOT_FOUND,
    message: /plugin io.containerd.boats.v1.ferry not found: not found/,
  },
  {
    what: 'health of an unknown service',
    ask: ask(HealthDefinition, 'check', { service: 'boats' }),
    code: code.NOT_FOUND,
    message: /unknown service/,
  },
]
