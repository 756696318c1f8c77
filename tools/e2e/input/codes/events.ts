import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { ask, type Case, code } from './case.ts'

export const eventsCases: readonly Case[] = [
  {
    what: 'event publish on a topic without a slash',
    ask: (c, call) =>
      c.of(EventsDefinition).publish({ topic: 'x', event: { typeUrl: 't', value: Buffer.from('') } }, call),
    code: code.INVALID_ARGUMENT,
    message: /envelope topic "x": must start with '\/'/,
  },
  {
    what: 'event publish on a topic with an odd part',
    ask: (c, call) =>
      c.of(EventsDefinition).publish({ topic: '/x/../y', event: { typeUrl: 't', value: Buffer.from('') } }, call),
    code: code.INVALID_ARGUMENT,
    message: /envelope topic "\/x\/\.\.\/y": failed validation on component/,
  },
  {
    what: 'event subscription with a filter that does not parse',
    ask: (c, call) => c.of(EventsDefinition).subscribe({ filters: ['topic==/tasks/exit'] }, call),
    code: code.INVALID_ARGUMENT,
    message: /failed parsing subscription filters/,
    ours: 'containerd itself fails here, or tells it by another code',
  },
  {
    what: 'event publish on the topic ""',
    ask: ask(EventsDefinition, 'publish', { topic: '', event: { typeUrl: 't', value: Buffer.from('') } }),
    code: code.INVALID_ARGUMENT,
    message: /envelope topic ".*": must not be empty/,
  },
  {
    what: 'event publish on the topic "/"',
    ask: ask(EventsDefinition, 'publish', { topic: '/', event: { typeUrl: 't', value: Buffer.from('') } }),
    code: code.INVALID_ARGUMENT,
    message: /envelope topic ".*": must have at least one component/,
  },
  {
    what: 'event publish on the topic "/a//b"',
    ask: ask(EventsDefinition, 'publish', { topic: '/a//b', event: { typeUrl: 't', value: Buffer.from('') } }),
    code: code.INVALID_ARGUMENT,
    message: /envelope topic ".*": failed validation on component/,
  },
  {
    what: 'event publish on the topic "/a/"',
    ask: ask(EventsDefinition, 'publish', { topic: '/a/', event: { typeUrl: 't', value: Buffer.from('') } }),
    code: code.INVALID_ARGUMENT,
    message: /envelope topic ".*": failed validation on component/,
  },
  {
    what: 'event publish on the topic "/a b"',
    ask: ask(EventsDefinition, 'publish', { topic: '/a b', event: { typeUrl: 't', value: Buffer.from('') } }),
    code: code.INVALID_ARGUMENT,
    message: /envelope topic ".*": failed validation on component/,
  },
  {
    what: 'event forward in a namespace that is no identifier',
    ask: ask(EventsDefinition, 'forward', {
      envelope: {
        timestamp: undefined,
        namespace: 'a/b',
        topic: '/x',
        event: { typeUrl: 't', value: Buffer.from('') },
      },
    }),
    code: code.INVALID_ARGUMENT,
    message: /event envelope has invalid namespace/,
  },
  {
    what: 'event forward without a namespace',
    ask: ask(EventsDefinition, 'forward', {
      envelope: { timestamp: undefined, namespace: '', topic: '/x', event: { typeUrl: 't', value: Buffer.from('') } },
    }),
    code: code.INVALID_ARGUMENT,
    message: /event envelope has invalid namespace/,
  },
  {
    what: 'event forward on a topic without a slash',
    ask: ask(EventsDefinition, 'forward', {
      envelope: { timestamp: undefined, namespace: 'a', topic: 'x', event: { typeUrl: 't', value: Buffer.from('') } },
    }),
    code: code.INVALID_ARGUMENT,
    message: /envelope topic "x": must start with '\/'/,
  },
  {
    what: 'event forward of nothing',
    ask: ask(EventsDefinition, 'forward', {}),
    code: code.INVALID_ARGUMENT,
    message: /./,
    ours: 'containerd goes down with it',
  },
]
