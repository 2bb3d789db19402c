// The states as words, each with its own colour.
local panel = import 'panel.libsonnet';

function(states) {
  // Mappings for fields whose values are state names.
  mappings:: panel.words([[state.name, state.name, state.color] for state in states] + [panel.noData, panel.none]),

  // Colours for series whose name is a state, or ends in a space and a state.
  colors:: std.foldl(
    function(so_far, state) so_far + panel.override(
      'byRegexp',
      '/(^| )%s$/' % state.name,
      { color: { mode: 'fixed', fixedColor: state.color } },
    ),
    states,
    {},
  ),

  // The open states as an alternation in a PromQL regular expression.
  open:: std.join('|', [state.name for state in states if state.open]),
}
