import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'events', about: 'the events service in a process of its own', parts: [part.events] })
