// The states in words, each with its one colour.
local panel = import 'panel.libsonnet';

function(states) {
  // Values of a field that are the states' names.
  mappings:: panel.words([[state.name, state.name, state.color] for state in states] + [panel.noData, panel.none]),

  // A series whose name is a state, or ends in one, behind a space.
  colors:: std.foldl(
    function(so_far, state) so_far + panel.override(
      'byRegexp',
      '/(^| )%s$/' % state.name,
      { color: { mode: 'fixed', fixedColor: state.color } },
    ),
    states,
    {},
  ),

  // An alternative of the regular expressions of PromQL.
  open:: std.join('|', [state.name for state in states if state.open]),
}
